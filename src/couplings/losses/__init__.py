"""Contrastive losses, each a choice of coupling; by role: match a target, sample negatives, weigh pairs."""

from .alpha import AlphaCL, AlphaCLDirect, AlphaCLLowRank, AlphaCLPerSample, BalancedAlphaCL
from .base import Couplings, Loss, parameters_of
from .batch import Batch
from .build import Sides
from .cacr import CACR, SinkhornCACR
from .exponential import MINE, LiftedStructured, NPlusOneTuplet, ScaledInfoNCE, SoftTriplet
from .gca import GCAINCE, IOT, SparseGCA
from .guide import Guide
from .match import Alignment, DecoupledInfoNCE, InfoNCE, SupCon
from .modalities import CLIP, SigLIP
from .moments import AlignmentUniformity, SpectralContrastive
from .named import NAMED, argument, in_settings, known_objects
from .pairs import ModifiedTriplet, PairLoss, Triplet, TripletContrastive
from .robust import GCARINCE, GCAUOT, RINCE
from .sample import HCL, HCLOT, DebiasedInfoNCE, RelaxedHCLOT
from .wanted import Domains

LOSSES: dict[str, type[Loss]] = {
    # match a target
    "infonce": InfoNCE,
    "decoupled-infonce": DecoupledInfoNCE,
    "supcon": SupCon,
    "alignment": Alignment,
    "clip": CLIP,
    "siglip": SigLIP,
    "rince": RINCE,
    "gca-ince": GCAINCE,
    "gca-rince": GCARINCE,
    "gca-uot": GCAUOT,
    "iot": IOT,
    "sparse-gca": SparseGCA,
    # sample negatives
    "debiased-infonce": DebiasedInfoNCE,
    "hcl": HCL,
    "hcl-ot": HCLOT,
    "relaxed-hcl-ot": RelaxedHCLOT,
    # weigh pairs
    "scaled-infonce": ScaledInfoNCE,
    "mine": MINE,
    "triplet": Triplet,
    "soft-triplet": SoftTriplet,
    "n-plus-one-tuplet": NPlusOneTuplet,
    "lifted-structured": LiftedStructured,
    "modified-triplet": ModifiedTriplet,
    "triplet-contrastive": TripletContrastive,
    "alpha-cl": AlphaCL,
    "alpha-cl-direct": AlphaCLDirect,
    "alpha-cl-per-sample": AlphaCLPerSample,
    "alpha-cl-low-rank": AlphaCLLowRank,
    "balanced-alpha-cl": BalancedAlphaCL,
    "cacr": CACR,
    "sinkhorn-cacr": SinkhornCACR,
    "spectral": SpectralContrastive,
    "alignment-uniformity": AlignmentUniformity,
}
"""Names for configuration files and the command line."""

FAMILIES: dict[str, type[Loss]] = {"pair-loss": PairLoss}
"""Names of losses that need arguments of one's own, so that no list of all losses has them."""


def losses_by_name() -> dict[str, type[Loss]]:
    """`LOSSES` and `FAMILIES`, with what was put into them since."""
    return LOSSES | FAMILIES


__all__ = [
    "CACR",
    "CLIP",
    "FAMILIES",
    "GCAINCE",
    "GCARINCE",
    "GCAUOT",
    "HCL",
    "HCLOT",
    "IOT",
    "LOSSES",
    "MINE",
    "NAMED",
    "RINCE",
    "Alignment",
    "AlignmentUniformity",
    "AlphaCL",
    "AlphaCLDirect",
    "AlphaCLLowRank",
    "AlphaCLPerSample",
    "BalancedAlphaCL",
    "Batch",
    "Couplings",
    "DebiasedInfoNCE",
    "DecoupledInfoNCE",
    "Domains",
    "Guide",
    "InfoNCE",
    "LiftedStructured",
    "Loss",
    "ModifiedTriplet",
    "NPlusOneTuplet",
    "PairLoss",
    "RelaxedHCLOT",
    "ScaledInfoNCE",
    "Sides",
    "SigLIP",
    "SinkhornCACR",
    "SoftTriplet",
    "SparseGCA",
    "SpectralContrastive",
    "SupCon",
    "Triplet",
    "TripletContrastive",
    "argument",
    "in_settings",
    "known_objects",
    "losses_by_name",
    "parameters_of",
]
