"""Who chooses the weights: square and power players, and what all players are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from couplings.losses.alpha import AlphaCL
from couplings.pieces.rules import Power, Quadratic, Rule

from ...claim import Check, Finding, Picture, at_least, equal
from ...figures import pair_importance as figures
from ...pair_importance import MinPlayer, feasible_points, late_threshold
from .common import Views, batch, largest, seen_distances

Asked = Sequence[tuple[MinPlayer, Tensor]]
"""Problems, and the weights that are said to solve them."""


def alpha_cl(views: Views, temperature: float, rule: Rule) -> Tensor:
    """What `AlphaCL` weighs negatives by, rows of sum one, (N, N)."""
    return AlphaCL(temperature, rule=rule).coupling(*views)["negatives"].conditional()


QUADRATIC: Callable[[Views, float], Tensor] = partial(alpha_cl, rule=Quadratic())


def square_player(
    weights: Callable[[Views, float], Tensor] = QUADRATIC,
    temperatures: Sequence[float] = (0.1, 0.5, 1.0, 5.0, 20.0, 40.0),
) -> Finding:
    """Compare the quadratic weights with the projection on the simplex, by its conditions and by a solver."""
    views = batch()
    distances = seen_distances(views)
    asked = [(MinPlayer(distances, tau, Quadratic()), weights(views, tau)) for tau in temperatures]
    late = {tau: late_threshold(distances, tau).sum(1) for tau in temperatures}
    dry = float((asked[0][1][distances.isfinite()] == 0).double().mean())
    return Finding(
        checks=(
            *_player_checks(asked),
            at_least(
                "such points: excess value over tau |change|^2 / 2, which the square owes, smallest ratio",
                min(float(_owed(player, alpha).min()) for player, alpha in asked),
                1.0,
                1e-6,
            ),
            at_least(f"share of negatives without weight at temperature {temperatures[0]:g}", dry, 0.5),
        ),
        picture=_water(asked, list(late.values())),
        remarks=tuple(
            f"Threshold one element late at temperature {tau:g}: rows sum to {_range(sums)}."
            for tau, sums in late.items()
        ),
    )


def _water(asked: Asked, late: Sequence[Tensor]) -> Picture:
    player, alpha = asked[1]
    return Picture(
        partial(
            figures.square_player,
            distances=player.distances[0].numpy(),
            weights=alpha[0].numpy(),
            temperatures=[player.temperature for player, _ in asked],
            shown=player.temperature,
            sums=[alpha.sum(1).numpy() for _, alpha in asked],
            late=[sums.numpy() for sums in late],
        ),
        (12, 4.6),
        "The square regulariser fills negatives like water, up to one level",
        "Left: weights are the depth of the water over each distance; dry negatives weigh nothing. Right: rows of "
        "the projection sum to one; with the threshold one element late they do not.",
    )


def power_player(
    weights: Callable[[Views, float, Rule], Tensor] = alpha_cl, gammas: Sequence[float] = (0.5, 1.0, 2.0)
) -> Finding:
    """Compare power weights with their conditions and a solver, and measure the exponent of their tail."""
    views = batch()
    distances, low = seen_distances(views), 0.05
    asked = {
        (gamma, tau): (MinPlayer(distances, tau, Power(1 + gamma)), weights(views, tau, Power(1 + gamma)))
        for gamma in gammas
        for tau in (low, 0.3, 2.0)
    }
    lines = {key: _tail(player, alpha) for key, (player, alpha) in asked.items()}
    bends = [abs(_slope(*line) + 1 / gamma) for (gamma, _), line in lines.items()]
    rows = {
        "square": alpha_cl(views, low, Quadratic())[0],
        "entropy": AlphaCL(low).coupling(*views)["negatives"].conditional()[0],
        **{rf"power, $\gamma$ = {gamma:g}": asked[gamma, low][1][0] for gamma in gammas},
    }
    return Finding(
        checks=(
            *_player_checks(list(asked.values())),
            equal("|slope of log weight over log(d^2 + mu) + 1 / gamma|, largest", max(bends), 0.0, 1e-8),
        ),
        picture=_tails({gamma: lines[gamma, low] for gamma in gammas}, distances[0], rows, low),
    )


def _tails(
    lines: dict[float, tuple[Tensor, Tensor]], distances: Tensor, rows: dict[str, Tensor], temperature: float
) -> Picture:
    return Picture(
        partial(
            figures.power_player,
            lines={gamma: [part.numpy() for part in line] for gamma, line in lines.items()},
            distances=distances.numpy(),
            rows={name: row.numpy() for name, row in rows.items()},
            temperature=temperature,
        ),
        (12, 4.6),
        "Power regularisers give weights with a power-law tail",
        "Left: weights of all anchors lie on straight lines of slope -1/gamma. Right: at one temperature the square "
        "rule drops far negatives, entropy lets them fade, power rules keep them.",
    )


def _player_checks(asked: Asked) -> tuple[Check, ...]:
    excess = min(float(lead(player, alpha).min()) for player, alpha in asked)
    return (
        equal("|row sum - 1|, largest", max(largest(alpha.sum(1) - 1) for _, alpha in asked), 0.0, 1e-10),
        equal("KKT gap (weights below zero count), largest", worst_gap(asked), 0.0, 1e-10),
        equal("|weights - those of a convex solver|, largest", to_solver(asked), 0.0, 1e-5),
        at_least("500 random feasible points: value less that of the weights, smallest", excess, 0.0, 1e-15),
    )


def worst_gap(asked: Asked) -> float:
    """The largest KKT gap."""
    return max(float(player.gap(alpha).max()) for player, alpha in asked)


def to_solver(asked: Asked) -> float:
    """The largest difference from the weights of a convex program."""
    return max(largest(player.by_solver() - alpha) for player, alpha in asked)


def lead(player: MinPlayer, alpha: Tensor) -> Tensor:
    """The objective of 500 random weights of the right row masses less that of `alpha`, (500, N)."""
    return player.objective(_others(player, alpha)) - player.objective(alpha)


def _others(player: MinPlayer, alpha: Tensor) -> Tensor:
    masses = (player.masses / alpha.sum(1))[:, None]
    return feasible_points(alpha * masses, player.admitted, 500, seed=1)


def _owed(player: MinPlayer, alpha: Tensor) -> Tensor:
    """The same in units of tau |change|^2 / 2: one or more by strong convexity at the optimum, (500, N)."""
    change = (_others(player, alpha) - alpha).square().sum(2)
    return lead(player, alpha) / (player.temperature * change / 2)


def _tail(player: MinPlayer, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """d^2 + mu and the weights, of all pairs; mu is what makes the nearest negative of a row fit."""
    gamma = player.rule.q - 1
    levels = player.temperature * alpha ** (-gamma) / gamma - player.distances
    nearest = player.distances.argmin(1, keepdim=True)
    shifted = player.distances + levels.gather(1, nearest)
    return shifted[player.admitted], alpha[player.admitted]


def _slope(x: Tensor, y: Tensor) -> float:
    """Of the least-squares line through (log x, log y)."""
    across, up = (v.log() - v.log().mean() for v in (x, y))
    return float((across * up).sum() / (across * across).sum())


def _range(values: Tensor) -> str:
    return f"{float(values.min()):.3g} to {float(values.max()):.3g}"
