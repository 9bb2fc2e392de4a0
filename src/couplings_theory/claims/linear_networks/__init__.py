"""Claims about deep linear encoders: the energy is a principal component problem (alpha-CL)."""

from __future__ import annotations

from ...claim import Claim, Paper, Standing
from .dynamics import dynamics
from .maxima import global_maxima, repeated_top
from .narrow import narrow_layers
from .pca import pca
from .saddles import saddles

__all__ = ["CLAIMS", "dynamics", "global_maxima", "narrow_layers", "pca", "repeated_top", "saddles"]

CLAIMS = (
    Claim(
        "linear-networks/pca",
        "For a linear encoder the energy is a principal component problem",
        "For z = W x and constant weights alpha, E_alpha = tr(W X W^T) / 2 with X = C_alpha[x, x], so that over |W|_F "
        "= 1 the maximum of 2 E is the largest eigenvalue of X. With equal weights and no augmentation X is 2 N^2 "
        "times the covariance: plain PCA. Here: weights of nine losses, N = 32, input of 6, networks of one and three "
        "layers.",
        Paper.ALPHA_CL,
        Standing.DERIVED,
        pca,
    ),
    Claim(
        "linear-networks/global-maxima",
        "Local maxima of deep linear networks are global, of rank one",
        "Over layers of Frobenius norm one, ascent ends where 2 E = lambda_max(X), every layer has rank one and hands "
        "its only direction to the next, and the first reads the top eigenvector of X. Conditions: lambda_max > 0, "
        "distinct, and two layers or hidden widths above the number of negative eigenvalues. Here: 2, 3 and 4 layers, "
        "ten seeds.",
        Paper.ALPHA_CL,
        Standing.RESTATED,
        global_maxima,
    ),
    Claim(
        "linear-networks/saddles",
        "Other critical points are saddles",
        "Rank-one networks on a lower eigenvector k have a direction of curvature lambda_1 - lambda_k or more; "
        "networks that balance several eigenvectors have one of 4 (L - 1) E or more. At four layers, two broken "
        "joints make a critical point flat to second order: no maximum either. Here: an input of 6, three layers of "
        "width 8 and an output of 4.",
        Paper.ALPHA_CL,
        Standing.DERIVED,
        saddles,
    ),
    Claim(
        "linear-networks/narrow-layers",
        "Narrow layers and negative eigenvalues leave dead local maxima",
        "From three layers on, if hidden layers are 2 or more wide but no wider than the number of negative "
        "eigenvalues of X, there are local maxima with E = 0: upper layers of product zero over a first layer that "
        "reads negative directions only. Ascent can end there. Here: InfoNCE's weights at temperature 0.05, five of "
        "six eigenvalues negative, hidden widths 2 against 6, ten seeds each.",
        Paper.ALPHA_CL,
        Standing.DERIVED,
        narrow_layers,
    ),
    Claim(
        "linear-networks/repeated-top",
        "A repeated largest eigenvalue is not covered",
        "Where the two largest eigenvalues are equal the statement about local maxima has no proof here. Seen in ten "
        "seeds: networks of three layers still end at rank one and 2 E = lambda_max, each on a direction of its own; "
        "one layer ends at rank two. Here: eigenvalues 3, 3, 1.2, 0.7, -0.5, -1.",
        Paper.ALPHA_CL,
        Standing.MEASURED,
        repeated_top,
    ),
    Claim(
        "linear-networks/dynamics",
        "Layers fall into step at a rate that the energy sets",
        "Along the gradient flow with layers of norm one, W_l W_l^T - W_(l+1)^T W_(l+1) decays as exp(-4 int E dt): "
        "neighbours come to share their singular values and vectors while one value of each takes all. Here: three "
        "layers, gradient steps small enough to be nearly the flow.",
        Paper.ALPHA_CL,
        Standing.DERIVED,
        dynamics,
    ),
)
