"""Latent classes: more negatives, from the population loss to its optimal gram."""

from .certificate import Certificate, certify
from .collisions import coverage, expected_collisions, no_collision
from .cones import gram_by_cones
from .downstream import Downstream, Scatter, class_means, downstream, margins, scatter
from .encoder import Prototypes, TrainedEncoder, Training, train_encoder
from .finite import class_vectors, expected_loss
from .gram import OptimalGram, optimal_gram
from .merging import critical_scale, merging_balance
from .population import collision_loss, enumerated_loss, population_loss
from .sampler import ClassDraw, LabelledSamples, LatentClasses, SampleDraw
from .simplex import simplex_distance, simplex_gram, simplex_loss

__all__ = [
    "Certificate",
    "ClassDraw",
    "Downstream",
    "LabelledSamples",
    "LatentClasses",
    "OptimalGram",
    "Prototypes",
    "SampleDraw",
    "Scatter",
    "TrainedEncoder",
    "Training",
    "certify",
    "class_means",
    "class_vectors",
    "collision_loss",
    "coverage",
    "critical_scale",
    "downstream",
    "enumerated_loss",
    "expected_collisions",
    "expected_loss",
    "gram_by_cones",
    "margins",
    "merging_balance",
    "no_collision",
    "optimal_gram",
    "population_loss",
    "scatter",
    "simplex_distance",
    "simplex_gram",
    "simplex_loss",
    "train_encoder",
]
