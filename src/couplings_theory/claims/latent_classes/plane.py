"""Class vectors as points that can be drawn."""

from __future__ import annotations

import math

from torch import Tensor

from couplings_theory.latent_classes import class_vectors


def in_plane(gram: Tensor) -> tuple[tuple[float, float], ...]:
    """The two leading coordinates of the class vectors, the first class on top and the second on its right.

    Optimal vectors of three classes lie in a plane (their gram has rank two), so nothing is lost there.
    """
    v = class_vectors(gram)[:, :2]
    turn = math.pi / 2 - math.atan2(float(v[0, 1]), float(v[0, 0]))
    points = [(math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y) for x, y in v.tolist()]
    side = -1.0 if len(points) > 1 and points[1][0] < 0 else 1.0
    return tuple((side * x, y) for x, y in points)
