"""Alignment as projections: plans between marginals, what each half-step brings, and where the losses' limits lie.

Notation of the whole package: P_ij = a_i b_j exp(f_i + g_j + s_ij / eps), KL the generalised divergence.
"""

from .embeddings import (
    FreeEmbeddings,
    Record,
    aligned_simplex,
    free_embeddings,
    simplex_loss,
    simplex_uniformity,
    teacher_target,
)
from .gradients import convergence_rate, dual_gradient, gradient_residual, matching_gradient
from .limits import Reference, released_rince, rince, unbalanced
from .projections import (
    Triangle,
    balanced,
    column_projection,
    divergence,
    domain_plan,
    half_steps,
    pythagoras,
    row_projection,
)

__all__ = [
    "FreeEmbeddings",
    "Record",
    "Reference",
    "Triangle",
    "aligned_simplex",
    "balanced",
    "column_projection",
    "convergence_rate",
    "divergence",
    "domain_plan",
    "dual_gradient",
    "free_embeddings",
    "gradient_residual",
    "half_steps",
    "matching_gradient",
    "pythagoras",
    "released_rince",
    "rince",
    "row_projection",
    "simplex_loss",
    "simplex_uniformity",
    "teacher_target",
    "unbalanced",
]
