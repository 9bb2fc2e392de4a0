"""Deep linear encoders under constant pair weights: the energy is a principal component problem.

`network` has the networks and their critical points, `ascent` projected gradient ascent, `curvature` the Riemannian
Hessian that tells maxima from saddles.
"""

from .ascent import Ascent, ascend
from .curvature import curvature
from .network import LinearNetwork, critical_network, random_network

__all__ = ["Ascent", "LinearNetwork", "ascend", "critical_network", "curvature", "random_network"]
