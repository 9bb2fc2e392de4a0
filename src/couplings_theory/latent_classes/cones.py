"""The optimal gram by a second route, independent of the first: the enumerated program over exponential cones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from couplings.basics.checks import finite_positive, require
from couplings.basics.errors import NotConverged

from .population import count_vectors, multinomial
from .prior import negatives, probabilities

ABSENT = -40.0
"""log n of a class that was not drawn: e^-40 is below rounding, and no number that upsets the solver."""
IMPOSSIBLE = 1e-10
"""Count vectors less likely than this are left out: they hardly count, and upset the solver too."""
LARGEST_PROGRAM = 3000
"""Log-sum-exps in the program: one a class and count vector."""
LARGEST_SCALE = 10.0
"""Beyond, the exponentials of an optimal gram span more orders of magnitude than the solver resolves."""
_TERMS = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
ACCURACY = dict.fromkeys(_TERMS, 1e-9) | dict.fromkeys((f"reduced_{name}" for name in _TERMS), 1e-6)
"""Of the loss in units of its excess at the identity; where rounding stops the solver, the reduced one will do."""
REGULARISATION = {"static_regularization_constant": 1e-10}
"""Clarabel's own 1e-8 ends one of ten such programs in a numerical error (72 priors, k and scales tried); this none."""


def gram_by_cones(prior: Sequence[float] | Tensor, *, k: int, scale: float = 1.0) -> Tensor:
    """The optimal gram of `optimal_gram`, found by cvxpy and Clarabel from the definition of the loss.

    Every count vector is one log-sum-exp of linear functions of G; the diagonal is free below one. For small C and k.

    Args:
        prior: rho (C,), above zero, sums to one, C >= 2.
        k: negatives of an anchor, >= 1.
        scale: s in (0, 10].

    Returns:
        G (C, C), float64; its loss within about 1e-9 of the optimum, its entries within about 1e-4.

    Raises:
        InvalidInput: an argument outside of these ranges, or more than 3000 log-sum-exps.
        NotConverged: the solver found no optimum.

    Cost: about 1 ms a log-sum-exp, and 2 s to load cvxpy.

    Source: Awasthi, Dikkala, Kamath, arXiv 2205.01789 (the convex program; restated).

    Example:
        >>> gram_by_cones([0.5, 0.5], k=1).round(decimals=3)
        tensor([[ 1., -1.],
                [-1.,  1.]], dtype=torch.float64)
    """
    import cvxpy as cp

    rho, k = probabilities(prior), negatives(k)
    finite_positive("scale", scale)
    require(len(rho) > 1, "prior must have two classes or more: one class has no angles")
    require(scale <= LARGEST_SCALE, f"scale must be <= {LARGEST_SCALE:g} here, got {scale:g}: use optimal_gram")
    gram = cp.Variable((len(rho), len(rho)), PSD=True)
    excess = _excess(gram, rho, k, scale)
    gram.value = torch.eye(len(rho), dtype=torch.float64).numpy()
    _solve(cp.Problem(cp.Minimize(excess / float(excess.value)), [cp.diag(gram) <= 1]))
    return torch.tensor(gram.value, dtype=torch.float64)


def _solve(problem: Any) -> None:
    import cvxpy as cp

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a solution within the reduced accuracy
            problem.solve(solver=cp.CLARABEL, **ACCURACY, **REGULARISATION)
    except cp.SolverError as error:
        raise NotConverged(f"Clarabel found no optimum ({error}): use optimal_gram") from error
    found = problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)
    if not found:
        raise NotConverged(f"Clarabel ended with {problem.status!r}: use optimal_gram")


def _excess(gram: Any, prior: Tensor, k: int, scale: float) -> Any:
    """The loss without what collisions alone cost, as an expression of the gram."""
    counts = count_vectors(len(prior), k)
    size = len(prior) * len(counts)
    small = size <= LARGEST_PROGRAM
    require(small, f"{len(prior)} classes and k = {k} are {size} log-sum-exps: use optimal_gram, which needs none")
    chances = multinomial(counts, prior)
    possible = chances > IMPOSSIBLE
    rows = [_row(gram, c, counts[possible], scale) for c in range(len(prior))]
    return sum(float(rho) * (chances[possible].numpy() @ row) for rho, row in zip(prior, rows, strict=True))


def _row(gram: Any, c: int, counts: Tensor, scale: float) -> Any:
    """log(1 + sum_j n_j / (1 + n_c) e^{s (G_cj - G_cc)}) over other classes j, for each of the N count vectors."""
    import cvxpy as cp
    import numpy as np

    others = torch.arange(counts.shape[1]) != c
    logs = (counts[:, others].log() - torch.log1p(counts[:, [c]])).clamp(min=ABSENT).numpy()
    exponents = scale * (gram[c, others.numpy()] - gram[c, c])
    every = np.ones((len(logs), 1)) @ cp.reshape(exponents, (1, logs.shape[1]), order="C")
    return cp.log_sum_exp(cp.hstack([np.zeros((len(logs), 1)), logs + every]), axis=1)
