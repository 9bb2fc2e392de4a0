"""Attraction and repulsion by weighted pairs: values, weights, information, flows, and limits of many samples."""

from .flows import Flow, random_rows, repelled, repulsion_flow
from .plans import (
    attraction,
    attraction_weights,
    least_information,
    mutual_information,
    repulsion,
    repulsion_plan,
    repulsion_weights,
    row_entropies,
    simplex_bound,
    simplex_rows,
)
from .sampling import approach_rate, expected_infonce, expected_weights, population_infonce, tilted_weights
from .training import Entropies, Images, weight_entropies

__all__ = [
    "Entropies",
    "Flow",
    "Images",
    "approach_rate",
    "attraction",
    "attraction_weights",
    "expected_infonce",
    "expected_weights",
    "least_information",
    "mutual_information",
    "population_infonce",
    "random_rows",
    "repelled",
    "repulsion",
    "repulsion_flow",
    "repulsion_plan",
    "repulsion_weights",
    "row_entropies",
    "simplex_bound",
    "simplex_rows",
    "tilted_weights",
    "weight_entropies",
]
