"""Pages whose tables are made by a command: what stands between two markers is replaced, the rest is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from couplings.basics.errors import InvalidInput
from couplings.system.files import write_bytes

__all__ = ["check_page", "replaced", "write_page"]

_END = "<!-- end -->"


def _start(name: str) -> str:
    return f"<!-- {name} -->"


def replaced(page: str, blocks: Mapping[str, str]) -> str:
    r"""The page with new contents between its markers.

    Args:
        page: its text.
        blocks: contents by the name of the block.

    Raises:
        InvalidInput: the page has no markers for one of them.

    Example:
        >>> replaced("<!-- bench: pairs --> old <!-- end --> mine", {"bench: pairs": "new"})
        '<!-- bench: pairs -->\n\nnew\n\n<!-- end --> mine'
    """
    for name, content in blocks.items():
        before, found, rest = page.partition(_start(name))
        _, ended, after = rest.partition(_END)
        if not (found and ended):
            raise InvalidInput(f"the page {_missing(name)}")
        page = f"{before}{_start(name)}\n\n{content}\n\n{_END}{after}"
    return page


def _missing(name: str) -> str:
    return f"has no place for {name.rpartition(': ')[2]}: add the lines '{_start(name)}' and '{_END}'"


def check_page(path: Path, names: Iterable[str]) -> None:
    """Refuse a page that has no place for these blocks, before minutes are spent on them.

    Raises:
        InvalidInput: it is missing, or has no markers.
    """
    if not path.is_file():
        raise InvalidInput(f"--docs {path}: there is no such page")
    text = path.read_text()
    for name in names:
        if _start(name) not in text:
            raise InvalidInput(f"--docs {path} {_missing(name)}")


def write_page(path: Path, blocks: Mapping[str, str]) -> None:
    """Write the page with its new contents."""
    write_bytes(path, replaced(path.read_text(), blocks).encode())
