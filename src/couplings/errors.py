"""What can go wrong, as types. Every message names the argument, the value that came and the remedy."""

from __future__ import annotations


class InvalidInput(ValueError):
    """An argument that no coupling or loss can be computed from."""


class Infeasible(InvalidInput):
    """No plan meets the marginals under the mask."""


class NotConverged(RuntimeError):
    """A plan whose marginals are further off than was asked for."""


class CouplingWarning(UserWarning):
    """A result that is usable but not what was asked for."""
