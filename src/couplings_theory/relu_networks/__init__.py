"""Two-layer networks z = W2 a(W1 x) under contrastive learning: what ReLU changes against a linear layer.

    E(W1, W2) = mean over anchors i and negatives j of (d_ij^2 - d_ip^2)  =  1/2 tr(W2 C[f, f] W2^T),  f = a(W1 x)
    d_ij^2 = |z_i - z_j|^2 / 2;  C[f, f] = mean of (f_i - f_j)(f_i - f_j)^T - (f_i - f_p)(f_i - f_p)^T

is the alpha-CL energy with the same weight for every pair (Tian 2022, arXiv 2201.12680). `ascend` finds its fixed
points on |w_k| = 1, |W2|_F = 1; `train` is InfoNCE with normalised outputs and SGD on the same data.
"""

from .ascent import Ascent, ascend, largest_gain, local_maximum
from .measures import alive, concentration, coverage, numerical_rank
from .mixture import OneHotMixture, Views, one_hot_data
from .network import Activation, TwoLayer, energy, uniform_covariance, unit_matrix, unit_rows
from .training import Trained, Training, train

__all__ = [
    "Activation",
    "Ascent",
    "OneHotMixture",
    "Trained",
    "Training",
    "TwoLayer",
    "Views",
    "alive",
    "ascend",
    "concentration",
    "coverage",
    "energy",
    "largest_gain",
    "local_maximum",
    "numerical_rank",
    "one_hot_data",
    "train",
    "uniform_covariance",
    "unit_matrix",
    "unit_rows",
]
