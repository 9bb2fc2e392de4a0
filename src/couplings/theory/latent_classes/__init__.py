"""Latent classes: more negatives, from the population loss to its optimal gram."""

from .population import collision_loss, enumerated_loss, population_loss
from .simplex import simplex_distance, simplex_gram, simplex_loss

__all__ = [
    "collision_loss",
    "enumerated_loss",
    "population_loss",
    "simplex_distance",
    "simplex_gram",
    "simplex_loss",
]
