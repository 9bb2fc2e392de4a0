"""What ReLU changes in a two-layer network: rank at fixed points and maxima, coordinates in training."""

from __future__ import annotations

from collections.abc import Callable

from couplings_theory.claim import Claim, Finding, Paper, Standing

from .fixed_points import linear_rank, local_maxima, relu_rank
from .trained import batch_normalised, concentrated, rotated, singular_values

__all__ = ["CLAIMS"]


def _claim(name: str, standing: Standing, examine: Callable[..., Finding], title: str, statement: str) -> Claim:
    return Claim(f"relu-networks/{name}", title, statement, Paper.ALPHA_CL, standing, examine)


CLAIMS: tuple[Claim, ...] = (
    _claim(
        "linear-rank",
        Standing.DERIVED,
        linear_rank,
        "Linear: all neurons learn one direction",
        "With constant equal pair weights, |w_k| = 1, |W2|_F = 1, a linear two-layer network ends with w_k = +-v for "
        "all hidden neurons, v the top eigenvector of C[x, x]: rank W1 = 1 and E = h/2 lambda_max(C[x, x]) "
        "(6 coordinates, 8 neurons, 6 starts).",
    ),
    _claim(
        "relu-rank",
        Standing.RESTATED,
        relu_rank,
        "ReLU: random starts end at rank two and more",
        "In the same setting a ReLU network has fixed points of many energies; 12 random starts end at rank W1 >= 2 "
        "over the neurons that are read (one of rank one exists too, see local-maxima). W2 still has rank 1, the top "
        "eigenvector of C[f, f]. On orthogonal data without negative entries rows read have no negative entry and "
        "E <= h/2 lambda_max(C[x, x]).",
    ),
    _claim(
        "local-maxima",
        Standing.DERIVED,
        local_maxima,
        "ReLU: local maxima have at most two directions",
        "On orthogonal data without negative entries a fixed point of higher rank has entries that were switched off "
        "and would pay when on. At a local maximum every neuron read is unit((+-X c)_+), X = C[x, x], c = W1_+^T u, "
        "W2 = v u^T: at most two directions with disjoint coordinates, one for each sign of u_k. With one sign for "
        "all, w_k = e_m is a local maximum of rank one, E = h/2 X_mm. Seen: 8 random starts end at two directions, "
        "lower.",
    ),
    _claim(
        "singular-value-rank",
        Standing.MEASURED,
        singular_values,
        "A negative result: trained ranks do not tell ReLU from linear",
        "Under InfoNCE with normalised outputs and SGD (10 coordinates, 10 neurons, temperature 0.1, 1000 steps) W1 is "
        "nearly of full rank with and without ReLU: the rank one of linear networks under constant weights does not "
        "carry over.",
    ),
    _claim(
        "concentration",
        Standing.MEASURED,
        concentrated,
        "What tells them apart: neurons take coordinates",
        "In the same training ReLU neurons concentrate on single coordinates and together cover most of them, on "
        "average over seeds and more than linear neurons do, which stay about as mixed as at the start (means over 4 "
        "seeds; single seeds differ).",
    ),
    _claim(
        "rotation",
        Standing.MEASURED,
        rotated,
        "A linear hidden layer can be rotated for free, a ReLU one can not",
        "W1 -> R W1, W2 -> W2 R^T with R orthogonal leaves loss and weight decay of a linear network as they are, so "
        "that neither ties its neurons to coordinates (derived). In trained ReLU networks each of 50 rotations raises "
        "InfoNCE, and coverage is lower after them on average (measured, 2 seeds).",
    ),
    _claim(
        "batch-norm",
        Standing.MEASURED,
        batch_normalised,
        "Batch normalisation sharpens the difference",
        "With the hidden layer batch normalised after its activation, as in the released experiment, ReLU neurons "
        "concentrate further, linear ones less so, and the gaps between the two are wider on average (2 seeds).",
    ),
)
