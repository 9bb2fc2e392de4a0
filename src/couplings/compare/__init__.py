"""Losses, settings, data sets and seeds side by side: the logic of ``couplings compare`` and ``couplings demo``."""

from couplings.compare.plan import Comparison, Trial
from couplings.compare.result import Result
from couplings.compare.run import Watcher, compare
from couplings.compare.variants import Variant, Varied, losses_named, variants_of
from couplings.compare.work import Outcome

__all__ = [
    "Comparison",
    "Outcome",
    "Result",
    "Trial",
    "Variant",
    "Varied",
    "Watcher",
    "compare",
    "losses_named",
    "variants_of",
]
