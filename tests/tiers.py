"""What runs by default: `@by_default(name=..., n=...)` keeps those values, the others carry the mark `full`.

On a test, or as `pytestmark` on a module, where it holds for the tests that have such a parameter; the mark of a test
goes before that of its module. `make test-all` runs all of them.
"""

from __future__ import annotations

import pytest

by_default = pytest.mark.by_default

REPRESENTATIVES = (
    "InfoNCE",
    "CLIP",
    "SigLIP",
    "RINCE",
    "GCAINCE",
    "GCAUOT",
    "SparseGCA",
    "DebiasedInfoNCE",
    "HCL",
    "HCLOT",
    "Triplet",
    "AlphaCL",
    "CACR",
    "AlignmentUniformity",
)
"""A loss for each way of computing: softmax of rows, views apart, single pairs, powers, balanced, with prices of mass,
sparse, corrected masses, reweighted negatives, plans held constant, margins, plans by formula, two plans, moments."""

representatives = by_default(name=REPRESENTATIVES)
"""For tests over losses by name."""


FULL = (
    "benchmarks/test_bench_cli.py",
    "distributed/test_losses_over_processes.py",
    "distributed/test_work_over_processes.py",
    "losses/test_blocked.py",
    "losses/test_blocked_weights.py",
    "losses/test_growth.py",
    "losses/test_random_calls.py",
    "losses/test_refilled.py",
    "losses/test_targets_blocked.py",
    "theory/test_alignment_claims.py",
    "theory/test_attraction_repulsion_claims.py",
    "theory/test_linear_networks_claims.py",
    "theory/test_minmax_claims.py",
    "theory/test_relu_networks_claims.py",
    "train/test_kill.py",
    "train/test_processes.py",
)
"""Whole files that take long and repeat, in more cases, what others guard: tests/testing has every way of computing and
two processes, tests/train/test_resume.py runs that stop, tests/theory/test_latent_claims.py a family's claims."""


def choose(item: pytest.Item) -> None:
    """Mark the item `full` if its file is, or its nearest `by_default` leaves out one of its parameters."""
    if item.path.as_posix().endswith(FULL):
        item.add_marker(pytest.mark.full)
    mark = item.get_closest_marker(by_default.name)
    if mark is None:
        return
    values = item.callspec.params if hasattr(item, "callspec") else {}
    if mark in item.own_markers and mark.kwargs.keys() - values:
        raise pytest.UsageError(f"{item.nodeid}: by_default names no parameter: {sorted(mark.kwargs.keys() - values)}")
    if any(values[name] not in keep for name, keep in mark.kwargs.items() if name in values):
        item.add_marker(pytest.mark.full)
