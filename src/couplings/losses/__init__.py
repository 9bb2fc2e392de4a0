"""Contrastive losses, each a choice of coupling; by role: match a target, sample negatives, weigh pairs."""

from .base import Couplings, Loss
from .batch import Batch, Sides
from .match import GCAINCE, InfoNCE
from .sample import HCL, HCLOT
from .weigh import CACR, AlphaCLDirect

LOSSES: dict[str, type[Loss]] = {
    "infonce": InfoNCE,
    "hcl": HCL,
    "hcl-ot": HCLOT,
    "gca-ince": GCAINCE,
    "alpha-cl-direct": AlphaCLDirect,
    "cacr": CACR,
}
"""Names for configuration files and the command line."""

__all__ = [
    "CACR",
    "GCAINCE",
    "HCL",
    "HCLOT",
    "LOSSES",
    "AlphaCLDirect",
    "Batch",
    "Couplings",
    "InfoNCE",
    "Loss",
    "Sides",
]
