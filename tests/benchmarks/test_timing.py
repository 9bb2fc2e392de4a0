"""Turns, rounds and what is made of the times."""

from __future__ import annotations

import doctest
from collections.abc import Callable, Iterator

import pytest

from couplings.benchmarks import timing
from couplings.benchmarks.timing import Pace, Spread, in_turns, paired, spread


class FakeClock:
    """Time that passes only when a call says so."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, list[str]()

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            self.now += next(seconds)

        return run


def test_calls_take_turns_and_the_warm_up_is_left_out() -> None:
    clock = FakeClock()
    ours = clock.call("ours", iter([1.9, 0.1, 0.2, 0.3]))
    theirs = clock.call("theirs", iter([1.9, 1.0, 1.0, 2.0]))
    times = in_turns([ours, theirs], Pace(seconds=100, repeats=3), clock)
    assert clock.log == ["ours", "theirs", "ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert times[0] == pytest.approx((0.1, 0.2, 0.3))
    assert times[1] == pytest.approx((1.0, 1.0, 2.0))
    assert paired(*times).median == pytest.approx(0.15)


def test_long_calls_are_their_own_warm_up() -> None:
    clock = FakeClock()
    times = in_turns([clock.call("ours", iter([20.0] * 9))], Pace(seconds=10, repeats=9), clock)
    assert times == [(20.0, 20.0, 20.0)]


def test_a_long_call_beside_a_short_one_is_timed_as_often() -> None:
    clock = FakeClock()
    ours, theirs = clock.call("ours", iter([0.5] * 9)), clock.call("theirs", iter([5.0] * 9))
    assert in_turns([ours, theirs], Pace(seconds=20), clock) == [(0.5,) * 4, (5.0,) * 4]


@pytest.mark.parametrize(
    ("rounds", "spent", "over"),
    [(25, 0.0, True), (3, 7.9, False), (3, 8.0, True), (1, 48.0, False), (1, 48.1, True), (0, 0.0, False)],
)
def test_when_a_row_ends(rounds: int, spent: float, over: bool) -> None:
    assert Pace(seconds=8.0, repeats=25, least=3).over(rounds, spent) is over


def test_one_time_has_no_spread() -> None:
    assert spread([2.0]) == Spread(2.0, 2.0, 2.0)


def test_examples() -> None:
    assert doctest.testmod(timing) == (0, 2)
