"""Pictures of runs and of couplings, written as PNG files.

Importing this package needs matplotlib (``pip install 'couplings[report]'``).
"""

from couplings.report.comparison import Entry, cells, clearly_above, collapsed, comparison, markdown_table
from couplings.report.coupling import coupling_picture
from couplings.report.curves import curves
from couplings.report.embedding import embedding_map
from couplings.report.histories import histories
from couplings.report.response import response

__all__ = [
    "Entry",
    "cells",
    "clearly_above",
    "collapsed",
    "comparison",
    "coupling_picture",
    "curves",
    "embedding_map",
    "histories",
    "markdown_table",
    "response",
]
