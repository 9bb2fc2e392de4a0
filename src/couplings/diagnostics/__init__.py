"""What an embedding and a loss say about each other, as functions that need torch alone.

How a space is filled: `alignment`, `uniformity`, `spectrum`, `effective_rank`, `collapsed_dimensions`. Who is close:
`nearest`, `duplicates`. Who pushes whom under a loss: `repulsion`, `effective_negatives` of one batch; `survey`,
`pushes` over many; `hubs`, `failing_positives` name what stands out. `Monitor` watches a loss while it trains.
"""

from .duplicates import Duplicates, duplicates
from .flags import failing_positives, hub_bound, hubs
from .monitor import Figures, Monitor
from .neighbours import Neighbours, nearest
from .spread import alignment, collapsed_dimensions, effective_rank, spectrum, uniformity
from .survey import Survey, effective_negatives, pushes, repulsion, survey

__all__ = [
    "Duplicates",
    "Figures",
    "Monitor",
    "Neighbours",
    "Survey",
    "alignment",
    "collapsed_dimensions",
    "duplicates",
    "effective_negatives",
    "effective_rank",
    "failing_positives",
    "hub_bound",
    "hubs",
    "nearest",
    "pushes",
    "repulsion",
    "spectrum",
    "survey",
    "uniformity",
]
