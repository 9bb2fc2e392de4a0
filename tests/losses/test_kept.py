"""What a forward pass keeps for the gradient, counted: the Cost sections of the docstrings say these numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers import CASES

N, D = 512, 4
KEPT = {
    "Alignment": 0.0,
    "CLIP": 0.5,
    "SigLIP": 0.6,
    "AlignmentUniformity": 0.5,
    "TripletContrastive": 0.3,
    "GCAUOT": 2.0,
    "AlphaCLLowRank": 2.0,
    "CACR": 2.6,
    "SinkhornCACR": 2.6,
    "HCL": 3.0,
    "SparseGCA": 3.0,
}
"""Matrices of N x N floats, two views; all other losses keep one."""
BESIDE = 0.6
"""Masks are booleans, a quarter of a matrix each; vectors and embeddings are little."""


@pytest.mark.parametrize("name", CASES)
def test_matrices_kept_for_the_gradient(name: str) -> None:
    views = [torch.randn(N // 2, D, requires_grad=True) for _ in range(2)]
    kept: dict[int, int] = {}

    def count(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
        loss = CASES[name]()(*views)
    assert loss.requires_grad
    matrices, claimed = sum(kept.values()) / (4 * N * N), KEPT.get(name, 1.0)
    assert claimed <= matrices <= claimed + BESIDE
