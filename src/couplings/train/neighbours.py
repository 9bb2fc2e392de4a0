"""Classification by nearest neighbours in feature space, in chunks, so that no n x m matrix is held."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from couplings.train.errors import DataError

__all__ = ["knn_predict", "leave_one_out_accuracy"]


def knn_predict(bank: Tensor, labels: Tensor, queries: Tensor, neighbours: int = 20, chunk: int = 1024) -> Tensor:
    """Classes ``(m,)`` by a vote of the nearest in the bank, weighted by exp(cosine / 0.07).

    Args:
        bank: features ``(n, d)``.
        labels: int64 ``(n,)``.
        queries: features ``(m, d)``.
        neighbours: how many vote; at most n.
        chunk: queries at a time.
    """
    unit = F.normalize(bank, dim=1)
    near = min(neighbours, len(bank))
    found = [_vote(part @ unit.T, labels, near) for part in F.normalize(queries, dim=1).split(chunk)]
    return torch.cat(found)


def _vote(cosines: Tensor, labels: Tensor, neighbours: int) -> Tensor:
    weight, index = cosines.topk(neighbours, dim=1)
    votes = cosines.new_zeros(len(cosines), int(labels.max()) + 1)
    # Relative to the nearest, so that no exponential overflows.
    return votes.scatter_add_(1, labels[index], ((weight - weight[:, :1]) / 0.07).exp()).argmax(1)


def leave_one_out_accuracy(features: Tensor, labels: Any, neighbours: int = 20) -> float:
    """Share of rows whose nearest others name their class, in [0, 1].

    Raises:
        DataError: labels of another length than the features.
    """
    _, numbers = np.unique(np.asarray(labels), return_inverse=True)
    if len(numbers) != len(features) or len(features) < 2:
        raise DataError(f"labels: {len(numbers)} labels for {len(features)} images; one each, at least two")
    known, unit = torch.from_numpy(numbers), F.normalize(features, dim=1)
    near, right = min(neighbours, len(features) - 1), 0
    for rows in torch.arange(len(features)).split(1024):
        cosines = unit[rows] @ unit.T
        cosines[torch.arange(len(rows)), rows] = -torch.inf
        right += int((_vote(cosines, known, near) == known[rows]).sum())
    return right / len(features)
