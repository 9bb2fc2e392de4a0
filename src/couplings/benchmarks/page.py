"""A page whose tables are made by `couplings bench`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from couplings.report import pages

from .result import Report, Section
from .tables import markdown

__all__ = ["check_page", "updated", "write_page"]


def updated(page: str, report: Report) -> str:
    """The page with the tables of the suites that were run, each with the machine that it was run on.

    Raises:
        InvalidInput: the page has no markers for one of them.
    """
    return pages.replaced(page, _blocks(report))


def check_page(path: Path, names: Iterable[str]) -> None:
    """Refuse a page that has no place for these suites, before minutes are spent on them.

    Raises:
        InvalidInput: it is missing, or has no markers.
    """
    pages.check_page(path, map(_block, names))


def write_page(path: Path, report: Report) -> None:
    """Write the page with its new tables."""
    pages.write_page(path, _blocks(report))


def _block(suite: str) -> str:
    return f"bench: {suite}"


def _blocks(report: Report) -> dict[str, str]:
    return {_block(section.name): _content(section, report) for section in report.sections}


def _content(section: Section, report: Report) -> str:
    quick = "Small sizes (`--quick`): no measurement. " if report.quick else ""
    return f"{markdown(section)}\n\n{quick}{report.machine.line}"
