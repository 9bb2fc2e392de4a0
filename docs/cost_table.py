"""Writes docs/costs.md from docs/costs.yaml: what each loss computes and keeps, by the size of the batch.

Run `python docs/cost_table.py` after changing costs.yaml; tests measure the numbers and compare the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
PAGE, SOURCE = HERE / "costs.md", HERE / "costs.yaml"
WAYS = {"small": "small", "middle": "between", "large": "large"}
TOP = """# What a loss costs

Passes over the pairs, and the numbers that a forward pass keeps for the gradient, for views alone and default options.
Formulas are upper bounds, at most a tenth above what is kept; written by `python docs/cost_table.py` from
`docs/costs.yaml`, and measured byte by byte by the tests.

N = n views rows (anchors), M candidates (N, and the keys of a queue), P = views - 1 positives, K = views P ordered
pairs of views, d dimensions, T sweeps. "2 N d" is a product.

- **small**: up to 256 x 256 pairs on a CPU. Everything is one matrix, or one for each pair of views; at most 32 sweeps
  are left to autograd, which keeps a matrix for each half-step.
- **between**: up to 1024 x 1024 pairs, of losses with sweeps. One matrix; a sweep keeps its two potentials. Losses
  without sweeps go by tiles, as in large batches, and keep no more than in a small one.
- **large**: by tiles, or by panels of rows; nothing of the size N M is kept.

| loss | batch | computes | keeps |
|---|---|---|---|
"""


def page() -> str:
    """The page as the source says it."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load(SOURCE.read_text())
    lines, notes = [], []
    for name, row in rows.items():
        for way, shown in WAYS.items():
            if way in row["kept"]:
                work = row["small"] if way != "large" else row.get("large", row["small"])
                lines.append(f"| {name} | {shown} | {work} | {row['kept'][way]} |")
        if "note" in row:
            notes.append(f"- `{name}`: {row['note']}.")
    return TOP + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
