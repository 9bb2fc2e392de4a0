"""Hard negatives by tilting (HCL) and by transport (HCL-OT): what they share and where they part."""

from __future__ import annotations

from collections.abc import Callable

from couplings_theory.claim import Claim, Finding, Paper, Standing

from .identities import kappa, symmetry, tilt_and_transport
from .orders import harder, harder_at_small_reg

__all__ = ["CLAIMS"]


def _claim(name: str, standing: Standing, examine: Callable[..., Finding], title: str, statement: str) -> Claim:
    return Claim(f"hard-negatives/{name}", title, statement, Paper.HCL_OT, standing, examine)


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "tilt",
        Standing.DERIVED,
        tilt_and_transport,
        "HCL is the one-sided entropic coupling",
        "With rows constrained alone the entropic plan of squared distances is HCL's at beta = 2 tau / reg. With "
        "columns too it gains a column potential: no candidate attracts more than its share, and rows differ, less at "
        "larger reg.",
    ),
    _claim(
        "hardness",
        Standing.DERIVED,
        harder_at_small_reg,
        "Smaller reg, harder negatives",
        "The expected cosine of the negatives does not rise with reg. HCL-OT goes from the best assignment (reg -> 0; "
        "it is never off by more than reg log(N - 2) / 2) to the uniform mean (reg -> infinity).",
    ),
    _claim(
        "kappa",
        Standing.DERIVED,
        kappa,
        "kappa of the exp cost is a scale of reg",
        "The cost exp(|z - z'|^2 - kappa) at reg and exp(|z - z'|^2) at reg e^kappa have the same plan.",
    ),
    _claim(
        "symmetry",
        Standing.DERIVED,
        symmetry,
        "The transport plan is symmetric",
        "For a symmetric cost and equal marginals the plan is unique, so it equals its transpose, for every rule; "
        "plans after a few sweeps and HCL's do not.",
    ),
    _claim(
        "harder",
        Standing.RESTATED,
        harder,
        "Both plans take harder negatives than chance",
        "The cosine of an anchor and its negative is stochastically larger under HCL than under the uniform plan, and "
        "the more so the smaller reg. Under HCL-OT its mean is larger; in most batches its whole tail is too, and "
        "HCL's mean larger still, but neither holds in general.",
    ),
)
