"""What people use today, written as they write it. Each is a function of a module, so that a process can find it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .inputs import views
from .work import Call, Contender, Role, Size

__all__ = ["BOUND", "LARGE", "LIGHTLY", "METRIC_LEARNING", "SIX_LINES", "UNROLLED", "Product", "six_lines", "unrolled"]

TEMPERATURE = 0.1
_SIDE = 2048


def six_lines(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE as a masked cross-entropy."""
    z = normalize(torch.cat([first, second]), dim=1)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    targets = torch.arange(len(z), device=z.device).roll(len(first))
    return cross_entropy(logits, targets)


def unrolled(first: Tensor, second: Tensor, temperature: float, sweeps: int) -> Tensor:
    """GCA-INCE by log-sum-exps, with autograd through all of them."""
    z = normalize(torch.cat([first, second]), dim=1)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    g, log_n = z.new_zeros(len(z)), math.log(len(z))
    for _ in range(sweeps):
        f = log_n - torch.logsumexp(logits + g, 1)
        g = log_n - torch.logsumexp(logits + f[:, None], 0)
    f = log_n - torch.logsumexp(logits + g, 1)
    i = torch.arange(len(z), device=z.device)
    j = i.roll(len(first))
    return log_n - (logits[i, j] + f[i] + g[j]).mean()


def with_gradient(value: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A value and its gradients."""
    return value.detach(), *torch.autograd.grad(value, inputs)


def _six_lines(size: Size, device: torch.device) -> Call:
    two = views(size, device)
    return lambda: with_gradient(six_lines(*two, TEMPERATURE), two)


def _unrolled(size: Size, device: torch.device) -> Call:
    two = views(size, device)
    return lambda: with_gradient(unrolled(*two, TEMPERATURE, size.sweeps), two)


def _lightly(size: Size, device: torch.device) -> Call:
    from lightly.loss import NTXentLoss

    two, loss = views(size, device), NTXentLoss(TEMPERATURE)
    return lambda: with_gradient(loss(*two), two)


def _metric_learning(size: Size, device: torch.device) -> Call:
    from pytorch_metric_learning.losses import NTXentLoss

    two, loss = views(size, device), NTXentLoss(TEMPERATURE)
    ids = torch.arange(size.rows // 2, device=device).repeat(2)
    return lambda: with_gradient(loss(torch.cat(two), ids), two)


@dataclass(frozen=True)
class Product:
    """One float32 matrix product (n, k) (k, m), into memory that is there."""

    n: int
    k: int
    m: int

    @property
    def flops(self) -> float:
        """Multiplications and additions."""
        return 2.0 * self.n * self.k * self.m

    def __call__(self, size: Size, device: torch.device) -> Call:
        """The product on random matrices."""
        left, right = torch.randn(self.n, self.k, device=device), torch.randn(self.k, self.m, device=device)
        out = torch.empty(self.n, self.m, device=device)
        return lambda: (torch.mm(left, right, out=out),)


LARGE = Product(_SIDE, _SIDE, _SIDE)


def _products_worth(size: Size) -> float:
    """How many large products 4 rows^2 dim flops are: two products of the scores' shape, each done for one half."""
    return 4.0 * size.rows**2 * size.dim / LARGE.flops


SIX_LINES = Contender("six-line cross-entropy", _six_lines)
LIGHTLY = Contender("lightly NTXentLoss", _lightly, package="lightly")
METRIC_LEARNING = Contender(
    # One row of logits for each pair of positives, over all pairs of negatives.
    "pytorch-metric-learning NTXentLoss",
    _metric_learning,
    package="pytorch_metric_learning",
    order=3.0,
)
UNROLLED = Contender("log-sum-exps, unrolled", _unrolled)
BOUND = Contender("the bound: 4 (2n)² d flops", LARGE, role=Role.YARDSTICK, share=_products_worth)
"""Timed on one 2048 x 2048 x 2048 product."""
