"""Data of orthogonal samples: one coordinate each, of a magnitude that the views see with noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from couplings.basics import checks

from .inputs import at_least, generator_of

Views = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class OneHotMixture:
    """Orthogonal mixture: a sample is one coordinate m of d, evenly drawn; a view of it is (magnitude_m + noise) e_m.

    Magnitudes fall evenly from `strongest` (m = 0) to `weakest` (m = d - 1). Both views of a sample have the same
    coordinate and noise of their own, normal with standard deviation `noise`, in the units of the magnitudes.

    Raises:
        InvalidInput: fewer than two dimensions, a magnitude that is not above zero, negative noise.

    Source:
        Tian 2022 (arXiv 2201.12680), the synthetic data of its two-layer experiment.

    Example:
        >>> OneHotMixture(dimensions=4, strongest=8.0, weakest=2.0).magnitudes.tolist()
        [8.0, 6.0, 4.0, 2.0]
    """

    dimensions: int = 10
    strongest: float = 10.0
    weakest: float = 1.0
    noise: float = 0.5

    def __post_init__(self) -> None:
        at_least("dimensions", self.dimensions, 2)
        checks.finite_positive("strongest", self.strongest)
        checks.finite_positive("weakest", self.weakest)
        checks.finite_nonnegative("noise", self.noise)

    @property
    def magnitudes(self) -> Tensor:
        """(d,), the mean of each coordinate where a sample has it."""
        return torch.linspace(self.strongest, self.weakest, self.dimensions, dtype=torch.float64)

    def draw(self, samples: int, generator: torch.Generator) -> Views:
        """Two views (samples, d), float64, of new samples."""
        chosen = torch.randint(self.dimensions, (samples,), generator=generator)
        sides = functional.one_hot(chosen, self.dimensions).double()
        noise = self.noise * torch.randn(2, samples, generator=generator, dtype=torch.float64)
        one, two = self.magnitudes[chosen] + noise
        return sides * one[:, None], sides * two[:, None]


def one_hot_data(samples: int, mixture: OneHotMixture | None = None, *, seed: int) -> Views:
    """Two views (samples, d), float64, of samples of a `OneHotMixture`; by default the one with its defaults.

    Raises:
        InvalidInput: fewer than two samples, a negative seed.

    Example:
        >>> one, two = one_hot_data(4, seed=0)
        >>> one.shape, bool(((one != 0).sum(1) == 1).all()), bool(((one != 0) == (two != 0)).all())
        (torch.Size([4, 10]), True, True)
    """
    at_least("samples", samples, 2)
    return (mixture or OneHotMixture()).draw(samples, generator_of(seed))
