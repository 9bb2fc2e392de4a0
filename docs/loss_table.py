"""Writes the table of docs/losses.md: the lines of each loss's formula and the pieces it is made of.

Run `python docs/loss_table.py` after changing a loss; a test compares the table with the code.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from types import FunctionType

from couplings.losses import LOSSES, Loss, PairLoss

PAGE = Path(__file__).with_name("losses.md")
START, END = "<!-- table: python docs/loss_table.py -->", "<!-- end of table -->"
PIECES = {
    "marginals": ("Fixed", "KL", "Free"),
    "rules": ("per_column", "Entropic", "Quadratic"),
    "costs": ("SquaredEuclidean", "ExpSquaredEuclidean", "DistancePower", "RBF"),
    "targets": ("Pairs", "SameLabel", "wanted"),
    "blocks": ("view_pairs", "within_views"),
    "coupling": ("couple", "log_expect", "log_partition", "expect", "entropy", "dual", "row_mass"),
    "divergences": ("divergence", "conditional_divergence", "log_mean_exp", "primal"),
    "scores": ("at", "row_sum"),
}
VERBS = [name for names in PIECES.values() for name in names]


def functions_of(kind: type[Loss]) -> list[FunctionType]:
    """The methods that make the formula, wherever they are inherited from, and the package's functions they call."""
    methods: dict[str, FunctionType] = {}
    for base in kind.__mro__:
        if base is Loss:
            break
        methods |= {n: f for n, f in vars(base).items() if isinstance(f, FunctionType) and n not in methods}
    public = {"couplings", "value", "aim", "candidates", "phi", "psi", "phi_of_exp"}
    found = {n: f for n, f in methods.items() if n in public}
    for _ in range(3):
        for function in list(found.values()):
            found |= _called(function, methods)
    return list(found.values())


def _called(function: FunctionType, methods: dict[str, FunctionType]) -> dict[str, FunctionType]:
    names = names_in(function)
    helpers = {n: f for n, f in function.__globals__.items() if isinstance(f, FunctionType) and n in names}
    ours = {n: f for n, f in helpers.items() if f.__module__.startswith("couplings.losses.")}
    return {n: f for n, f in methods.items() if n in names and n.startswith("_")} | ours


def names_in(function: FunctionType) -> set[str]:
    """Every name and attribute in the code of a function."""
    nodes = ast.walk(_code(function))
    return {n.id if isinstance(n, ast.Name) else n.attr for n in nodes if isinstance(n, ast.Name | ast.Attribute)}


def lines_of(function: FunctionType) -> int:
    """Lines of code in the body: no signature, no docstring, no comment."""
    body = _code(function).body[0]
    statements = body.body if isinstance(body, ast.FunctionDef) else []
    if statements and isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        statements = statements[1:]
    numbers = {k for s in statements for k in range(s.lineno, (s.end_lineno or s.lineno) + 1)}
    source = textwrap.dedent(inspect.getsource(function)).splitlines()
    return sum(1 for k in numbers if source[k - 1].strip() and not source[k - 1].strip().startswith("#"))


def _code(function: FunctionType) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def row(kind: type[Loss]) -> str:
    """One line of the table."""
    functions = functions_of(kind)
    used = set().union(*(names_in(f) for f in functions))
    pieces = ", ".join(f"`{name}`" for name in VERBS if name in used)
    return f"| `{kind.__name__}` | {sum(lines_of(f) for f in functions)} | {pieces} |"


def table() -> str:
    """The table in Markdown."""
    kinds = [*LOSSES.values(), PairLoss]
    return "\n".join(["| loss | lines | pieces |", "|---|---|---|", *(row(kind) for kind in kinds)])


def updated(page: str) -> str:
    """The page with the table of today."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
    print(f"wrote {PAGE}")
