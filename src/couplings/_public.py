"""Everything that `import couplings` offers, in one place; `couplings/__init__.py` loads it on first use."""

from .checks import set_checks
from .costs import RBF, Cosine, Cost, DistancePower, ExpSquaredEuclidean, InnerProduct, SquaredEuclidean
from .coupling import Coupling
from .errors import CouplingWarning, Infeasible, InvalidInput, NotConverged
from .losses import CACR, GCAINCE, HCL, HCLOT, AlphaCLDirect, InfoNCE, Loss
from .marginals import KL, Fixed, Free, Marginal
from .masks import GivenMask, Mask, SameId
from .rules import Entropic, Power, Quadratic, Rule
from .scores import Scores
from .solve import couple
from .targets import Pairs

__all__ = [
    "CACR",
    "GCAINCE",
    "HCL",
    "HCLOT",
    "KL",
    "RBF",
    "AlphaCLDirect",
    "Cosine",
    "Cost",
    "Coupling",
    "CouplingWarning",
    "DistancePower",
    "Entropic",
    "ExpSquaredEuclidean",
    "Fixed",
    "Free",
    "GivenMask",
    "Infeasible",
    "InfoNCE",
    "InnerProduct",
    "InvalidInput",
    "Loss",
    "Marginal",
    "Mask",
    "NotConverged",
    "Pairs",
    "Power",
    "Quadratic",
    "Rule",
    "SameId",
    "Scores",
    "SquaredEuclidean",
    "couple",
    "set_checks",
]
