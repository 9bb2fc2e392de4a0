"""Claims examined side by side, and what came of each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from couplings.report.style import drawn
from couplings.system.workers import Tick, open_workers
from couplings_theory.catalogue import claim_named
from couplings_theory.claim import Check, Claim, Finding, Picture

__all__ = ["Drawn", "Outcome", "examine", "examine_one"]


@dataclass(frozen=True)
class Drawn:
    """A picture, drawn."""

    svg: bytes
    png: bytes
    title: str
    caption: str


@dataclass(frozen=True)
class Outcome:
    """What came of a claim.

    Attributes:
        claim: which.
        checks: its numbers; none where the program ended with an error.
        remarks: what was seen beside it.
        picture: the figure.
        error: kind and message, where the program ended with an error.
        seconds: how long it took, drawing included.
    """

    claim: Claim
    checks: tuple[Check, ...]
    remarks: tuple[str, ...]
    picture: Drawn | None
    error: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the program ran and all numbers are as the claim says."""
        return not self.error and bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True)
class _Result:
    """An outcome without its claim, whose program need not travel between processes."""

    checks: tuple[Check, ...] = ()
    remarks: tuple[str, ...] = ()
    picture: Drawn | None = None
    error: str = ""
    seconds: float = 0.0
    missing: str = ""
    """A library that is not installed."""

    def of(self, claim: Claim) -> Outcome:
        # An error that travels between processes loses the name.
        if self.missing:
            raise ModuleNotFoundError(f"no module named {self.missing}", name=self.missing)
        return Outcome(claim, self.checks, self.remarks, self.picture, self.error, self.seconds)


def examine_one(claim: Claim) -> Outcome:
    """Run a claim's program and draw its picture, in this process.

    An error of the program is an outcome too: the claim has failed, and the others can still be examined.

    Raises:
        ModuleNotFoundError: a solver is not installed.
    """
    start = time.perf_counter()
    try:
        finding: Finding = claim.examine()
        picture = _drawn(finding.picture)
    except ModuleNotFoundError:
        # A library that is not installed says nothing about the claim.
        raise
    except Exception as error:
        return Outcome(claim, (), (), None, f"{type(error).__name__}: {error}", time.perf_counter() - start)
    return Outcome(claim, finding.checks, finding.remarks, picture, "", time.perf_counter() - start)


def _drawn(picture: Picture) -> Drawn:
    svg, png = drawn(picture.draw, picture.size, picture.title)
    return Drawn(svg, png, picture.title, picture.caption)


def _work(name: str, tick: Tick) -> _Result:
    try:
        outcome = examine_one(claim_named(name))
    except ModuleNotFoundError as error:
        return _Result(missing=error.name or str(error))
    tick(1)
    return _Result(outcome.checks, outcome.remarks, outcome.picture, outcome.error, outcome.seconds)


def _ignore(_: Outcome) -> None:
    return None


def examine(
    claims: Sequence[Claim], workers: int | None = None, on_outcome: Callable[[Outcome], None] = _ignore
) -> list[Outcome]:
    """Examine claims in processes of one thread each, which makes their numbers the same on any machine of a kind.

    Args:
        claims: of the catalogue: a process finds them by name.
        workers: processes [default: the number of cores].
        on_outcome: told of each as it ends.

    Returns:
        The outcomes, in the order of the claims.

    Raises:
        ModuleNotFoundError: a solver is not installed.
        WorkerStopped: the system stopped a process.
        KeyboardInterrupt: Ctrl-C.
    """
    by_name = {claim.name: claim for claim in claims}
    count = min(workers or os.cpu_count() or 1, max(1, len(claims)))
    with open_workers(count, jobs=len(claims)) as pool:
        found = pool.run(_work, list(by_name), on_result=lambda name, result: on_outcome(result.of(by_name[name])))
    return [result.of(claim) for claim, result in zip(claims, found, strict=True)]
