"""Classification by nearest neighbours in feature space."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from couplings.diagnostics.neighbours import Neighbours, nearest_in
from couplings.train.errors import DataError

__all__ = ["knn_predict", "leave_one_out_accuracy"]


def knn_predict(bank: Tensor, labels: Tensor, queries: Tensor, neighbours: int = 20) -> Tensor:
    """Classes ``(m,)`` by a vote of the nearest in the bank, weighted by exp(cosine / 0.07).

    Args:
        bank: features ``(n, d)``.
        labels: int64 ``(n,)``.
        queries: features ``(m, d)``.
        neighbours: how many vote; at most n.
    """
    return _vote(nearest_in(bank, queries, neighbours), labels)


def _vote(near: Neighbours, labels: Tensor) -> Tensor:
    weight = near.similarity
    votes = weight.new_zeros(len(weight), int(labels.max()) + 1)
    # Relative to the nearest, so that no exponential overflows.
    return votes.scatter_add_(1, labels[near.index], ((weight - weight[:, :1]) / 0.07).exp()).argmax(1)


def leave_one_out_accuracy(features: Tensor, labels: Any, neighbours: int = 20) -> float:
    """Share of rows whose nearest others name their class, in [0, 1].

    Raises:
        DataError: labels of another length than the features.
    """
    _, numbers = np.unique(np.asarray(labels), return_inverse=True)
    if len(numbers) != len(features) or len(features) < 2:
        raise DataError(f"labels: {len(numbers)} labels for {len(features)} images; one each, at least two")
    known = torch.from_numpy(numbers)
    return float((_vote(nearest_in(features, None, neighbours), known) == known).double().mean())
