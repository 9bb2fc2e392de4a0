"""Faults planted into embeddings of scikit-learn's digits, and into those alone, are found by the keys of the JSON."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from couplings import InfoNCE
from couplings.inspection import Settings, Subject
from couplings.inspection.runs import Where, run_subject
from couplings.train import Silent, preset, train, with_overrides

SEEDS = (0, 1)
SMALL = Settings(batch_size=64, pairs=20)


def _script() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "planted_faults.py"
    spec = importlib.util.spec_from_file_location("planted_faults", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PLANT = _script()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """800 digits in two views, embedded by an encoder that was trained for 20 steps."""
    small = {"steps": 20, "batch_size": 64, "data.limit": 800, "encoder.width": 8, "projector.hidden": 32}
    run = train(with_overrides(preset("digits"), small), tmp_path_factory.mktemp("digits") / "run", Silent())
    # Rows are named by their place here, not among all digits.
    return replace(run_subject(run, Where.FEATURES), numbers=None)


@pytest.fixture(scope="module")
def still(seen: Subject) -> Subject:
    """The same without views."""
    return Subject("digits", seen.samples)


@pytest.fixture(scope="module")
def before(still: Subject) -> frozenset[tuple[int, int]]:
    """Duplicates that digits have of their own: a handful."""
    found: frozenset[tuple[int, int]] = PLANT.found_pairs(still)
    assert len(found) < 5
    return found


def test_exact_duplicates(still: Subject, before: frozenset[tuple[int, int]]) -> None:
    for seed in SEEDS:
        planted = PLANT.copies(still, 0.01, 0.0, seed)
        found = PLANT.score(planted.pairs, PLANT.found_pairs(planted.subject), before)
        assert found.recall >= 0.95
        assert found.precision >= 0.7


def test_near_duplicates(still: Subject, before: frozenset[tuple[int, int]]) -> None:
    """Noise of a hundredth of each dimension's standard deviation."""
    for seed in SEEDS:
        planted = PLANT.copies(still, 0.02, 0.01, seed)
        found = PLANT.score(planted.pairs, PLANT.found_pairs(planted.subject), before)
        assert found.recall >= 0.8
        assert found.precision >= 0.9


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_collapsed_dimension(still: Subject, noise: float) -> None:
    dead = PLANT.inspected(still, how=PLANT.QUICK)["collapsed_dimensions"]
    alive = next(dimension for dimension in range(still.embeddings.shape[1]) if dimension not in dead)
    found = PLANT.inspected(PLANT.collapsed(still, alive, noise).subject, how=PLANT.QUICK)
    assert found["collapsed_dimensions"] == sorted([*dead, alive])
    assert found["summary"]["collapsed_dimensions"] == len(dead) + 1


def test_swapped_positives(seen: Subject) -> None:
    """Precision is bounded by the positives that fail without being swapped, whose views are too strong."""
    own = len(PLANT.inspected(seen, how=SMALL)["failing_positives"])
    for seed in SEEDS:
        planted = PLANT.swapped(seen, 0.05, seed)
        found = PLANT.inspected(planted.subject, how=SMALL)
        flagged = frozenset(found["failing_positives"])
        share = PLANT.score(planted.rows, flagged)
        assert share.recall >= 0.85
        assert len(flagged - planted.rows) <= 1.1 * own
        assert found["failing_positive_ranks"] == sorted(found["failing_positive_ranks"], reverse=True)


def test_a_hub() -> None:
    """A row in the mean direction of a space that is spread wide but for a common part."""
    z = torch.randn(1000, 32, generator=torch.Generator().manual_seed(0))
    z[:, 0] += 3
    plain, large = Subject("made", z), Settings(pairs=20)
    assert PLANT.inspected(plain, InfoNCE(0.1), large)["hubs"] == []
    found = PLANT.inspected(PLANT.hub(plain, 123).subject, InfoNCE(0.1), large)
    assert found["hubs"] == [123]
    assert found["hub_masses"][0] > 3


def test_rows_of_one_group_are_no_duplicates(still: Subject) -> None:
    planted = PLANT.copies(still, 0.01, 0.0, 0)
    groups = torch.arange(len(still))
    for one, other in planted.pairs:
        groups[other] = groups[one]
    assert not planted.pairs & PLANT.found_pairs(replace(planted.subject, groups=groups))
