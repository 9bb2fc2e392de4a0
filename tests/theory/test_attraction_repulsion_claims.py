"""Each claim passes, and fails with an ingredient that is wrong, at the check that is about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from couplings import CACR, Coupling, Scores, couple
from couplings.losses.base import Couplings
from couplings.losses.batch import Batch
from couplings.pieces.costs import SquaredEuclidean
from couplings_theory import attraction_repulsion as model
from couplings_theory.claim import Finding
from couplings_theory.claims.attraction_repulsion import CLAIMS

EXAMINE: dict[str, Callable[..., Finding]] = {claim.name.split("/")[1]: claim.examine for claim in CLAIMS}
FEW = {"information": {"seeds": (0, 5)}, "entropies": {"seeds": (1,)}}
"""Smaller settings of what takes seconds."""


def _squared(z: Tensor, clamped: bool = False) -> Tensor:
    unit = torch.nn.functional.normalize(z, dim=-1)
    cosine = unit @ unit.mT
    return 2 - 2 * (cosine.clamp(min=0) if clamped else cosine)


def _weights(squared: Tensor, hardness: float, sign: int = -1, self_pair: bool = False) -> Tensor:
    logits = sign * hardness * squared
    itself = torch.eye(squared.shape[-1], dtype=torch.bool)
    return torch.softmax(logits if self_pair else logits.masked_fill(itself, -torch.inf), -1)


def _pushed(z: Tensor, hardness: float, clamped: bool = False, sign: int = -1, self_pair: bool = False) -> Tensor:
    """A repulsion by hand, right by default."""
    squared = _squared(z, clamped)
    return -(_weights(squared, hardness, sign, self_pair) * squared).sum(1).mean()


def _weighed(z: Tensor, hardness: float, sign: int = -1, self_pair: bool = False) -> Tensor:
    return _weights(_squared(z), hardness, sign, self_pair)


def _pulled(views: Tensor, hardness: float, sign: int = 1, self_pair: bool = False, clamped: bool = False) -> Tensor:
    """An attraction by hand, right by default."""
    squared = _squared(views.transpose(0, 1), clamped)
    return (_weights(squared, hardness, sign, self_pair) * squared).sum(-1).mean()


def _near_first(views: Tensor, hardness: float) -> Tensor:
    """Weights of positives with the sign of negatives."""
    others = torch.stack([views.roll(-k, 0) for k in range(1, len(views))], 2)
    return torch.softmax(-hardness * (views[:, :, None] - others).square().sum(-1), 2)


class Released(CACR):
    """The debiased repulsion with the sign and the scale that were released: it pushes positives apart."""

    def value(self, batch: Batch, couplings: Couplings) -> Tensor:
        """(negatives - tau+ |z_i - z_p|^2) / (1 - tau+)."""
        positive = -batch.positive_scores(1.0, SquaredEuclidean()).matrix().mean()
        plain = CACR(alpha=0.0, beta=self.beta, t_negative=self.t_negative).value(batch, couplings)
        return (plain - self.tau_plus * positive) / (1 - self.tau_plus)


def _self_kept(z: Tensor, hardness: float) -> Coupling:
    return couple(Scores(z, temperature=1 / max(hardness, 1e-9), cost=SquaredEuclidean()))


def _together(z: Tensor, hardness: float) -> Coupling:
    """A plan that prefers far rows."""
    itself = torch.eye(len(z), dtype=torch.bool)
    return couple(-Scores(z, temperature=1 / max(hardness, 1e-9), cost=SquaredEuclidean(), mask=itself))


def _decoupled(positive: Tensor, negative: Tensor, temperature: float, count: int) -> Tensor:
    """InfoNCE without the positive in its denominator."""
    return model.expected_infonce(positive - 1000, negative, temperature, count) - 1000 / temperature


def _one_more(positive: Tensor, negative: Tensor, temperature: float, count: int) -> Tensor:
    return model.expected_infonce(positive, negative, temperature, count + 1)


def _uniform(squared: Tensor, hardness: float, count: int) -> Tensor:
    return torch.full_like(squared, 1 / len(squared))


def _limit_at_once(squared: Tensor, hardness: float, count: int) -> Tensor:
    return model.tilted_weights(squared, hardness * (count > 1))


def _failed(finding: Finding) -> str:
    return "; ".join(check.what for check in finding.checks if not check.passed)


@pytest.mark.parametrize("name", EXAMINE)
def test_the_claim_holds_and_is_drawn(name: str) -> None:
    finding = EXAMINE[name](**FEW.get(name, {}))
    assert finding.passed, _failed(finding)
    figure = Figure(figsize=finding.picture.size, layout="constrained")
    finding.picture.draw(figure)
    figure.draw_without_rendering()
    assert all(axes.has_data() for axes in figure.axes)
    assert len(finding.picture.title) < 80


def test_by_hand_nothing_fails() -> None:
    """So that it is the wrong part of an ingredient that fails below."""
    for name, ingredients in {
        "attraction": {"pull": _pulled},
        "simplex": {"push": _pushed, "weigh": _weighed},
        "weights": {"repelling": _weighed},
    }.items():
        assert EXAMINE[name](**ingredients).passed, name


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("attraction", {"pull": partial(_pulled, sign=-1)}, "least excess"),
    ("attraction", {"pull": partial(_pulled, self_pair=True)}, "one positive"),
    ("attraction", {"pull": lambda views, t: 2 - model.attraction(views, t)}, "coincide"),
    ("attraction", {"debiased": Released(alpha=0.0, beta=2.0, tau_plus=0.1)}, "debiased"),
    ("simplex", {"push": partial(_pushed, clamped=True)}, "repulsion on the simplex"),
    ("simplex", {"push": partial(_pushed, self_pair=True)}, "repulsion on the simplex"),
    ("simplex", {"push": partial(_pushed, sign=1)}, "least repulsion of 300"),
    ("simplex", {"push": lambda z, t: model.repulsion(z, 0.0)}, "but at t- = 1"),
    ("simplex", {"weigh": partial(_weighed, self_pair=True)}, "farthest weight"),
    ("weights", {"attracting": _near_first}, "positives out of the order"),
    ("weights", {"repelling": partial(_weighed, sign=1)}, "negatives out of the order"),
    ("weights", {"repelling": partial(_weighed, self_pair=True)}, "from 1 / n at t- = 0"),
    ("weights", {"repelling": lambda z, t: _weighed(z, t / 2)}, "softmax(2 t s)"),
    ("information", {"flow": partial(model.repelled, steps=8)}, "repulsion at the end"),
    ("information", {"flow": partial(model.repelled, steps=2, plan=_together)}, "repulsion at the start"),
    ("information", {"flow": partial(model.repelled, steps=2), "plan": _self_kept}, "equal weights"),
    ("entropies", {"trained": CACR(t_positive=0.0, t_negative=0.0), "steps": 5}, "least effective number"),
    ("entropies", {"plain": CACR(t_positive=4.0, t_negative=2.0), "steps": 5}, "mean effective number"),
    ("infonce-limit", {"parts": CACR(t_negative=1 / 0.6, alpha=1 / 0.6, beta=1 / 0.6)}, "constant weights"),
    ("infonce-limit", {"parts": CACR(1.0, 1.0, 1 / 0.6, 1 / 0.6, detach_weights=True)}, "constant weights"),
    ("infonce-limit", {"expected": _decoupled}, "over its rate"),
    ("infonce-limit", {"expected": _one_more}, "144 draws"),
    ("infonce-limit", {"counts": (16, 64)}, "distance from the limit"),
    ("query-dependent", {"conditional": _uniform}, "125 draws"),
    ("query-dependent", {"conditional": _limit_at_once}, "125 draws"),
    ("query-dependent", {"conditional": lambda d, t, k: model.expected_weights(4 - d, t, k)}, "largest ratio"),
    ("query-dependent", {"conditional": lambda d, t, k: model.expected_weights(d, t, k + 1)}, "single view"),
]


@pytest.mark.parametrize(("name", "ingredients", "at"), WRONG)
def test_the_claim_fails_with_a_wrong_ingredient(name: str, ingredients: dict[str, object], at: str) -> None:
    finding = EXAMINE[name](**{**FEW.get(name, {}), **ingredients})
    assert not finding.passed
    assert at in _failed(finding)
