"""All checks of a loss, by name: what they compare, whom they concern, and what usually makes a loss fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..basics.errors import CouplingWarning, InvalidInput, did_you_mean
from ..losses.base import Loss
from . import derivatives, gathered, modules, sides, symmetries, ways
from .near import Nonconforming
from .processes import Processes
from .subject import Standing, Subject

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Kind:
    """A check of any loss.

    Attributes:
        compare: what it does with one.
        cause: what usually makes a loss fail.
        concerns: whether it says something about a loss.
    """

    compare: Callable[[Subject], None]
    cause: str
    concerns: Callable[[Subject], bool] = lambda subject: True


def _takes(title: str) -> Callable[[Subject], bool]:
    return lambda subject: subject.takes(title)


KINDS: dict[str, Kind] = {
    "value": Kind(modules.value, "numbers drawn at random, state kept from call to call, or operations in place"),
    "couplings": Kind(modules.couplings, "couplings() returns something that is not the result of couple()"),
    "gradient": Kind(
        derivatives.gradient,
        "detach(), no_grad() or .item() in value(); weights that are to be constants belong into couplings(), over "
        "batch.detach(); for a constant that depends on the batch, say standing=",
    ),
    "second-derivative": Kind(
        derivatives.second_derivative,
        "an autograd.Function whose backward is not differentiable and does not say so (once_differentiable)",
    ),
    "pair-weights": Kind(
        derivatives.pair_weights,
        "value() reads batch.embeddings or the views, and not batch.scores(...) alone",
        lambda subject: subject.loss.normalize,  # else costs move with the norms, too
    ),
    "refilled": Kind(derivatives.refilled, "an autograd.Function that keeps tensors on ctx, not by save_for_backward"),
    "permutation": Kind(symmetries.permutation, "samples that are told by their place, or masks made by index"),
    "views-exchanged": Kind(
        symmetries.views_exchanged,
        "one direction alone is summed; where that is meant, say symmetric=False",
        lambda subject: subject.symmetric,
    ),
    "rotation": Kind(symmetries.rotation, "coordinates of the embeddings are read, and not their scores alone"),
    "scale": Kind(
        symmetries.scale,
        "embeddings are read before they are normalised",
        lambda subject: subject.loss.normalize,
    ),
    "tiles": Kind(ways.tiles, "value() builds a matrix of its own, or reads entries of a plan by place"),
    "panels": Kind(ways.panels, "value() builds a matrix of its own, or takes a mean over rows that it sees in parts"),
    "half-precision": Kind(
        ways.half_precision, "exponentials or sums outside of scores and couplings, which compute in single precision"
    ),
    "hard-batches": Kind(
        ways.hard_batches_check,
        "exp() of scores without subtracting the largest, log() or a division of what may be zero, sqrt() at zero",
    ),
    "ids": Kind(
        sides.ids, "a mask other than batch.same: batch.itself alone leaves equal ids in", lambda s: s.loss.repels
    ),
    "labels": Kind(
        sides.labels,
        "a mask other than batch.same, or labels_attract without batch.kin as what attracts",
        lambda s: s.loss.repels and "labels" not in s.calls["two views"].sides,
    ),
    "keys": Kind(
        sides.keys, "columns beyond the batch are cut off, or a mask is made for the batch's alone", _takes("keys")
    ),
    "negatives": Kind(
        sides.negatives,
        "columns are told by their place; a loss whose plan shares its columns declares shares_columns = True",
        _takes("negatives"),
    ),
    "target": Kind(sides.target, "batch.target is not read: leave takes_target as it is, False", _takes("target")),
    "gather": Kind(
        gathered.gather,
        "a sum over one process's rows alone, a class that other processes cannot import, or gather= that does not "
        "reach Loss.__init__",
        lambda subject: subject.given.gather is not False,
    ),
    "deepcopy": Kind(modules.deepcopy, "an attribute that cannot be copied: a lock, a file, a tensor with a graph"),
    "pickle": Kind(modules.pickled, "a lambda, or a function or class that is not at the top of a module"),
    "state-dict": Kind(
        modules.state_dict,
        "a tensor that is learnt and not an nn.Parameter of the loss",
        lambda subject: len(subject.given.state_dict()) > 0,
    ),
}


@dataclass(frozen=True)
class Check:
    """One check of one loss: call it. ``str(check)`` names both, as an id for pytest.

    Attributes:
        name: what is checked, such as ``"rotation"``.
        subject: the loss, and how it is called.
    """

    name: str
    subject: Subject

    def __call__(self) -> None:
        """Run it.

        Raises:
            Nonconforming: an AssertionError that says what was compared, the figures, and the usual cause.
        """
        kind, loss = KINDS[self.name], self.subject.given
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            torch.manual_seed(0)
            warnings.simplefilter("ignore", CouplingWarning)
            try:
                kind.compare(self.subject)
            except Exception as error:
                said = str(error) if isinstance(error, Nonconforming) else f"{type(error).__name__}: {error}"
                raise Nonconforming(f"{loss}, check {self.name!r}: {said}\nUsual cause: {kind.cause}.") from error

    def __str__(self) -> str:
        return f"{self.name}-{type(self.subject.given).__name__}"


def check_loss(
    loss: Loss,
    *,
    only: Collection[str] | None = None,
    skip: Collection[str] = (),
    cold: Loss | None = None,
    standing: Standing | None = None,
    symmetric: bool = True,
    processes: int | Processes = 2,
) -> list[Check]:
    """The conformance checks that concern a loss, each a callable with a name.

    What concerns it follows from what its class declares (`repels`, `shares_columns`, `takes_target`, `takes_domains`,
    `labels_attract`) and from the calls that it takes: one that it refuses with `InvalidInput` is none of its calls.
    A check that does not concern it is not in the list.

    Args:
        loss: an instance of a subclass of `Loss`, with the parameters that it is to be checked at.
        only: names of checks; all by default.
        skip: names of checks to leave out.
        cold: the loss at a low temperature, for precision and hard batches; by default made with ``temperature=0.01``
            where its constructor knows one.
        standing: ``standing(loss, call)`` returns the loss with what is a constant to its gradient, though it depends
            on the batch, held still at this call. Couplings without gradient are held by themselves.
        symmetric: whether the order of the views means nothing.
        processes: how many share a batch in the check ``"gather"``; or `Processes`, to be used for several losses.

    Raises:
        InvalidInput: an unknown name of a check, or what is no loss.

    Example:
        >>> from couplings import InfoNCE
        >>> from couplings.testing import check_loss
        >>> checks = check_loss(InfoNCE(0.2), skip=["gather"])
        >>> for check in checks:
        ...     check()
        >>> [check.name for check in checks][:4]
        ['value', 'couplings', 'gradient', 'second-derivative']
    """
    if not isinstance(loss, Loss):
        raise InvalidInput(
            f"loss must be an instance of a subclass of Loss, got {loss!r}: check_gradients compares other losses"
        )
    for name in [*(only or ()), *skip]:
        if name not in KINDS:
            raise InvalidInput(f"there is no check {name!r}: {did_you_mean(name, KINDS)}")
    subject = Subject(loss, cold, standing, symmetric, processes)
    wanted = [name for name in KINDS if (only is None or name in only) and name not in skip]
    return [Check(name, subject) for name in wanted if KINDS[name].concerns(subject)]


def parametrize_with_checks(*losses: Loss, **options: object) -> pytest.MarkDecorator:
    """A pytest decorator: the test gets each check of each loss as its argument `check`.

    Args:
        losses: instances of subclasses of `Loss`.
        options: of `check_loss`.

    Example:
        >>> from couplings import InfoNCE
        >>> from couplings.testing import parametrize_with_checks
        >>> @parametrize_with_checks(InfoNCE(0.2))
        ... def test_conformance(check):
        ...     check()
    """
    import pytest

    checks = [check for loss in losses for check in check_loss(loss, **options)]  # type: ignore[arg-type]
    return pytest.mark.parametrize("check", checks, ids=str)
