"""What the tests of claims share."""

from __future__ import annotations

from matplotlib.figure import Figure

from couplings_theory.claim import Claim, Finding


def failed(finding: Finding) -> list[str]:
    """The checks that did not pass."""
    return [check.what for check in finding.checks if not check.passed]


def holds_and_is_drawn(claim: Claim, family: str) -> None:
    """The claim holds in its own setting, and its picture has axes that say what they are."""
    finding = claim.examine()
    assert finding.passed, [check for check in finding.checks if not check.passed]
    assert claim.family == family
    assert len(finding.picture.title) < 80
    figure = Figure(figsize=finding.picture.size)
    finding.picture.draw(figure)
    figure.draw_without_rendering()
    assert all(axes.get_xlabel() or axes.get_ylabel() or axes.get_title() for axes in figure.axes[:1])
