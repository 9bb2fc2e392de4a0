"""Claims about pair importance: whose gradient it is, and who chooses it (alpha-CL)."""

from __future__ import annotations

from ...claim import Claim, Paper, Standing
from .entropy import entropy_player
from .gradient import gradient
from .low_rank import low_rank
from .players import power_player, square_player

__all__ = ["CLAIMS", "entropy_player", "gradient", "low_rank", "power_player", "square_player"]

CLAIMS = (
    Claim(
        "pair-importance/gradient",
        "One energy behind nine losses",
        "For losses mean_i phi(xi_i), xi_i = sum_j psi(d_i^2 - d_ij^2), the gradient in the weights of any network is "
        "-1/N times that of the energy sum_ij alpha_ij (d_ij^2 - d_i^2) with alpha = phi'(xi) psi' held constant. "
        "Here: eight losses (InfoNCE in two forms) through a residual network with batch normalisation, N = 16, "
        "float64.",
        Paper.ALPHA_CL,
        Standing.DERIVED,
        gradient,
    ),
    Claim(
        "pair-importance/entropy-player",
        "InfoNCE's weights minimise energy plus negative entropy",
        "Among weights >= 0 with row sums xi / (e0 + xi), those of InfoNCE at temperature tau minimise sum alpha d^2 "
        "+ tau sum alpha log alpha. So do the other exponential members at their own temperature 1; hinge, sigmoid "
        "and linear members do not. Here: N = 14, 12 negatives each, tau = 0.3.",
        Paper.ALPHA_CL,
        Standing.RESTATED,
        entropy_player,
    ),
    Claim(
        "pair-importance/square-player",
        "The square regulariser projects on the simplex",
        "With sum alpha^2 / 2 in place of the negative entropy, the weights of a row are the Euclidean projection of "
        "-d^2 / tau on the simplex: [mu - d^2]_+ / tau, rows of sum one, most of them zero at low tau. Here: N = 14, "
        "six temperatures from 0.1 to 40.",
        Paper.ALPHA_CL,
        Standing.RESTATED,
        square_player,
    ),
    Claim(
        "pair-importance/power-player",
        "Power regularisers give power-law weights",
        "With the regulariser whose slope is -a^(-gamma) / gamma, the weights of a row are proportional to (d^2 + "
        "mu)^(-1/gamma), rows of sum one. Here: gamma = q - 1 = 0.5, 1 and 2, tau = 0.3 and 2, N = 14.",
        Paper.ALPHA_CL,
        Standing.RESTATED,
        power_player,
    ),
    Claim(
        "pair-importance/low-rank",
        "Weights of one number an anchor, and of few ranks",
        "Per-sample weights are one number an anchor, its share of the kernel: the matrix has rank one. Low-rank "
        "weights of full rank are those of alpha-CL, and cut at rank k they are the best approximation of that rank. "
        "Here: 24 anchors with 10 negatives of their own, and a batch of N = 14.",
        Paper.ALPHA_CL,
        Standing.DERIVED,
        low_rank,
    ),
)
