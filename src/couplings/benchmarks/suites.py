"""All works by the name of their suite; a suite's works are made when it is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from couplings.basics.errors import InvalidInput, did_you_mean
from couplings.losses import LOSSES

from .ours import ours
from .peers import BOUND, LIGHTLY, METRIC_LEARNING, SIX_LINES, TEMPERATURE, UNROLLED
from .sinkhorn import ACCURACY, geomloss_solver, our_solver, pot_solver
from .work import Contender, Goal, Quantity, Role, Size, Work

__all__ = ["SUITES", "Suite", "chosen"]

MEGABYTE = 10**6
_LARGE = (4096, 8192, 16_384)
_FAMILY = ("supcon", "clip", "siglip", "hcl", "debiased-infonce", "alpha-cl-direct", "cacr")


@dataclass(frozen=True)
class Suite:
    """Works that belong in one table."""

    name: str
    title: str
    works: Callable[[], Sequence[Work]]
    usual: bool = True
    """Whether it is run when no name is given."""
    small: bool = True
    """Whether it has sizes for a quick look."""


def _infonce() -> Sequence[Work]:
    goals = (
        Goal(Quantity.TIME, 0.28, SIX_LINES.name, _LARGE),
        Goal(Quantity.TIME, 1.0, SIX_LINES.name, (512,)),
        Goal(Quantity.TIME, 0.15, LIGHTLY.name, _LARGE),
        Goal(Quantity.TIME, 2.2, BOUND.name, _LARGE),
        Goal(Quantity.MEMORY, 400 * MEGABYTE, rows=(65_536,)),
    )
    sizes = tuple(Size(rows) for rows in (512, *_LARGE, 65_536))
    own = ours("infonce", temperature=TEMPERATURE)
    small = tuple(Size(rows) for rows in (128, 256, 512))
    return [
        Work("infonce", "InfoNCE", sizes, own, (SIX_LINES, LIGHTLY, BOUND), goals),
        Work("small", "InfoNCE, small batches", small, own, (METRIC_LEARNING,), limit=5.0),
    ]


def _family() -> Sequence[Work]:
    yardstick = replace(ours("infonce", temperature=TEMPERATURE), name="our InfoNCE", role=Role.YARDSTICK)
    goal = Goal(Quantity.TIME, 1.7, yardstick.name, (4096,))
    return [
        Work(name, LOSSES[name].__name__, (Size(4096),), _as_trained(name), (yardstick,), (goal,)) for name in _FAMILY
    ]


def _as_trained(name: str) -> Contender:
    return ours(name, labelled=name == "supcon")


def _balanced() -> Sequence[Work]:
    goals = (
        Goal(Quantity.TIME, 0.20, UNROLLED.name, (4096,)),
        Goal(Quantity.MEMORY, 0.20, UNROLLED.name, (4096,)),
        Goal(Quantity.MEMORY, 400 * MEGABYTE, rows=(32_768,)),
    )
    sizes = tuple(Size(rows, sweeps=10) for rows in (4096, 32_768))
    own = ours("gca-ince", temperature=TEMPERATURE)
    return [Work("gca-ince", "GCA-INCE, 10 sweeps", sizes, own, (UNROLLED,), goals)]


def _sinkhorn() -> Sequence[Work]:
    return [
        Work(
            f"eps-{eps}",
            f"balanced plan, eps = {eps}, L1 error {ACCURACY:g}",
            (Size(4096),),
            Contender("couple", our_solver(eps)),
            (
                Contender("POT sinkhorn_log", pot_solver(eps), package="ot"),
                Contender("geomloss", geomloss_solver(eps), package="geomloss"),
            ),
            tuple(Goal(Quantity.TIME, 0.25, name, (4096,)) for name in ("POT sinkhorn_log", "geomloss")),
        )
        for eps in (0.05, 0.2)
    ]


def _losses() -> Sequence[Work]:
    return [Work(name, kind.__name__, (Size(4096),), _as_trained(name), pace=0.4) for name, kind in LOSSES.items()]


def _growth() -> Sequence[Work]:
    rows = tuple(2**k for k in range(9, 17))
    plain = tuple(Size(n, d) for d, n in product((128, 512), rows))
    swept = tuple(Size(n, d, t) for d, t, n in product((128, 512), (1, 5, 10), rows))
    infonce, gca = ours("infonce", temperature=TEMPERATURE), ours("gca-ince", temperature=TEMPERATURE)
    return [
        Work("infonce", "InfoNCE", plain, infonce, (SIX_LINES,), limit=60.0, pace=0.2),
        Work("gca-ince", "GCA-INCE", swept, gca, limit=6.0, pace=0.2),
    ]


def _training() -> Sequence[Work]:
    from .training import works

    return works()


def _checks() -> Sequence[Work]:
    from .checks import works

    return works()


def _views() -> Sequence[Work]:
    from .views import works

    return works()


SUITES = {
    suite.name: suite
    for suite in (
        Suite("infonce", "InfoNCE, forward and backward", _infonce),
        Suite("family", "Other losses beside our InfoNCE", _family),
        Suite("balanced", "GCA-INCE: balanced plans with their exact gradient", _balanced),
        Suite("sinkhorn", "Balanced Sinkhorn alone, at one accuracy", _sinkhorn),
        Suite("losses", "Every loss", _losses),
        Suite("training", "A training loop", _training, small=False),
        Suite("growth", "How cost grows", _growth),
        Suite("checks", "What the checks of tensor values cost", _checks, usual=False),
        Suite("views", "Geometric views", _views, usual=False),
    )
}
"""In the order in which they are run."""


def chosen(names: Sequence[str], *, quick: bool = False) -> list[tuple[Suite, Sequence[Work]]]:
    """The suites of that name, or one work of a suite as `suite/work`; the usual ones if nothing is named.

    Raises:
        InvalidInput: there is no such suite or work.
    """
    wanted: dict[str, dict[str, Work]] = {}
    usual = [suite.name for suite in SUITES.values() if suite.usual and (suite.small or not quick)]
    for name in names or usual:
        suite, _, work = name.partition("/")
        if suite not in SUITES:
            raise InvalidInput(f"no bench is called {suite!r}: {did_you_mean(suite, SUITES)}")
        wanted.setdefault(suite, {}).update(_works(SUITES[suite], work))
    return [(SUITES[name], list(works.values())) for name, works in wanted.items()]


def _works(suite: Suite, name: str) -> dict[str, Work]:
    works = {work.name: work for work in suite.works()}
    if name and name not in works:
        raise InvalidInput(f"bench {suite.name!r} has no work {name!r}: {did_you_mean(name, works)}")
    return {name: works[name]} if name else works
