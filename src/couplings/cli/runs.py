"""`couplings runs`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["SortBy", "runs"]


class SortBy(Enum):
    """What a list of runs is sorted by; accuracies from the best."""

    NAME = "name"
    WHEN = "when"
    KNN = "knn"
    LINEAR = "linear"
    FEW = "few"


def runs(
    *folders: Path,
    sort: SortBy = SortBy.NAME,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """List the runs below some folders, and what they reached.

    Args:
        folders: Where to look, at any depth [default: runs].
        sort: name, when (newest first), or an accuracy, best first: knn, linear or few (the few-label probe).
        json: Print a JSON list for programs instead of the table.
    """
    from couplings.cli.runs_table import list_runs

    list_runs(folders, sort, as_json=json)
