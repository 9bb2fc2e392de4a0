"""How the losses do with the defaults of their constructors where near neighbours must be told apart.

Queries are the first paragraphs of docstrings in Python's own library, documents are the rest of them; both are words
weighed by their rarity, in 128 dimensions, and a residual layer of 256 is trained on 70 % of the pairs. Run
`python docs/default_settings.py infonce rince ...`: mean reciprocal ranks of the other pairs, in percent, two seeds.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from pathlib import Path

import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from torch import Tensor, nn

from couplings.losses import LOSSES, Loss, parameters_of

SIZE, STEPS, BATCH, RATE = 128, 200, 128, 1e-3


def docstrings() -> dict[str, str]:
    """The rest of each docstring by its first paragraph."""
    found: dict[str, str] = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if {"site-packages", "test", "lib2to3"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else None
            head, _, rest = (text or "").partition("\n\n")
            if len(head) > 20 and len(rest) > 80:
                found.setdefault(head, rest)
    return found


def pairs() -> tuple[Tensor, Tensor]:
    """Unit vectors of queries and documents, in random order."""
    texts = docstrings()
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform([*texts, *texts.values()])
    z = torch.as_tensor(normalize(TruncatedSVD(SIZE, random_state=0).fit_transform(words)), dtype=torch.float32)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    both = z[: len(texts)][order], z[len(texts) :][order]
    said = (both[0].norm(dim=1) > 0.5) & (both[1].norm(dim=1) > 0.5)  # no words that are known: no vector
    return both[0][said], both[1][said]


def reciprocal_rank(queries: Tensor, documents: Tensor) -> float:
    """The mean over queries, in percent."""
    near = nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(documents, dim=1).T
    return 100 * float((1 / (near >= near.diagonal()[:, None]).sum(1)).mean())


def trained(loss: Loss, queries: Tensor, documents: Tensor, seed: int) -> float:
    """The reciprocal rank on the pairs that were not trained on."""
    torch.manual_seed(seed)
    cut = int(0.7 * len(queries))
    layer = nn.Sequential(nn.Linear(SIZE, 256), nn.ReLU(), nn.Linear(256, SIZE))
    nn.init.zeros_(layer[2].weight)
    adam = torch.optim.AdamW(layer.parameters(), RATE)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    for _ in range(STEPS):
        chosen = torch.randperm(cut)[:BATCH]
        views = (z[chosen] + layer(z[chosen]) for z in (queries, documents))
        adam.zero_grad()
        loss(*views).backward()
        adam.step()
        cosine.step()
    with torch.no_grad():
        return reciprocal_rank(*(z[cut:] + layer(z[cut:]) for z in (queries, documents)))


if __name__ == "__main__":
    data = pairs()
    print(f"{len(data[0])} pairs, untrained {reciprocal_rank(*(z[int(0.7 * len(z)) :] for z in data)):.1f}")
    for name in sys.argv[1:]:
        across = {"across_views": True} if "across_views" in parameters_of(LOSSES[name]) else {}
        print(name, *(f"{trained(LOSSES[name](**across), *data, seed):.1f}" for seed in (0, 1)), flush=True)
