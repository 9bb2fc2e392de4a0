"""A page whose tables are made by the command: what stands between two markers is replaced, the rest is kept."""

from __future__ import annotations

from pathlib import Path

from couplings.errors import InvalidInput
from couplings.files import write_bytes

from .result import Report
from .tables import markdown

__all__ = ["check_page", "updated", "write_page"]

_END = "<!-- end -->"


def _start(name: str) -> str:
    return f"<!-- bench: {name} -->"


def updated(page: str, report: Report) -> str:
    """The page with the tables of the suites that were run, each with the machine that it was run on.

    Raises:
        InvalidInput: the page has no markers for one of them.
    """
    for section in report.sections:
        start = _start(section.name)
        before, found, rest = page.partition(start)
        _, ended, after = rest.partition(_END)
        if not (found and ended):
            raise InvalidInput(f"the page has no place for {section.name}: add the lines '{start}' and '{_END}'")
        quick = "Small sizes (`--quick`): no measurement. " if report.quick else ""
        page = f"{before}{start}\n\n{markdown(section)}\n\n{quick}{report.machine.line}\n\n{_END}{after}"
    return page


def check_page(path: Path, names: list[str]) -> None:
    """Refuse a page that has no place for these suites, before minutes are spent on them.

    Raises:
        InvalidInput: it is missing, or has no markers.
    """
    if not path.is_file():
        raise InvalidInput(f"--docs {path}: there is no such page")
    text = path.read_text()
    for name in names:
        if _start(name) not in text:
            raise InvalidInput(f"--docs {path} has no place for {name}: add the lines '{_start(name)}' and '{_END}'")


def write_page(path: Path, report: Report) -> None:
    """Write the page with its new tables."""
    write_bytes(path, updated(path.read_text(), report).encode())
