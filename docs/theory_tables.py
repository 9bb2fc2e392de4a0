"""Writes the tables of claims on docs/theory.md and on the pages of the families.

Run `python docs/theory_tables.py` after changing a claim; a test compares the tables with the code.
"""

from __future__ import annotations

from pathlib import Path

from couplings.report.pages import replaced
from couplings_theory.catalogue import FAMILIES, Family

HERE = Path(__file__).parent


def pages() -> list[Path]:
    """The pages with tables."""
    return [HERE / "theory.md", *(HERE / "theory" / f"{family.name}.md" for family in FAMILIES)]


def page(path: Path, text: str) -> str:
    """The page with its table."""
    families = [family for family in FAMILIES if path.name in (f"{family.name}.md", "theory.md")]
    table = index(families) if path.name == "theory.md" else claims(families[0])
    return replaced(text, {"claims": table})


def index(families: list[Family]) -> str:
    """A line a family."""
    lines = ["| family | claims | the claims |", "|---|---|---|"]
    for family in families:
        titles = "; ".join(claim.title for claim in family.claims)
        lines.append(f"| [{family.title}](theory/{family.name}.md) | {len(family.claims)} | {titles} |")
    return "\n".join(lines)


def claims(family: Family) -> str:
    """A line a claim."""
    rows = [f"| `{claim.name}` | {claim.title} | {claim.standing.value} |" for claim in family.claims]
    return "\n".join(
        [f"`couplings theory --only {family.name}` examines", "", "| claim | it says | known |", "|---|---|---|", *rows]
    )


if __name__ == "__main__":
    for one in pages():
        one.write_text(page(one, one.read_text()))
