"""What data parallel training makes of the gradients of other libraries' losses."""

from __future__ import annotations

from collections.abc import Iterator

import losses_of_others as others
import pytest

from couplings import InvalidInput
from couplings.testing import Processes, ProcessFailed, check_gradients

THREE = Processes(3)
"""Two processes do not tell 1/W from 1/2."""


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    THREE.close()


SOUND = [
    (others.ours, False),
    (others.ours_with_labels, True),
    (others.lightly_gathering, False),
    (others.metric_learning, True),
    (others.open_clip_global, False),
    (others.open_clip_local, False),
    (others.shifted, False),
]


@pytest.mark.parametrize(("factory", "labels"), SOUND, ids=lambda value: getattr(value, "__name__", ""))
def test_gradients_of_one_process_with_the_whole_batch(factory: others.Loss, labels: bool) -> None:
    found = check_gradients(factory, THREE, labels=labels)
    assert found.right, found
    assert found.fraction == "1"
    assert found.shifts
    assert not found.own_batches
    assert "is that of one process with the whole batch" in str(found)


def test_a_value_need_not_be_that_of_one_process() -> None:
    """This wrapper multiplies it, because what it gathers carries no gradient."""
    assert check_gradients(others.metric_learning, THREE, labels=True).value == pytest.approx(3)


@pytest.mark.parametrize(
    ("factory", "fraction", "ratio"),
    [(others.open_clip_without_gradient, "1/W", 1 / 3), (others.summed, "W", 3.0)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_gradients_that_are_parallel(factory: others.Loss, fraction: str, ratio: float) -> None:
    found = check_gradients(factory, THREE)
    assert found.parallel
    assert not found.right
    assert found.fraction == fraction
    assert found.ratio == pytest.approx(ratio)
    assert f"is {fraction} of that of one process with the whole batch" in str(found)


@pytest.mark.parametrize("factory", [others.lightly_alone, others.info_nce])
def test_losses_that_gather_nothing(factory: others.Loss) -> None:
    found = check_gradients(factory, THREE)
    assert found.own_batches
    assert found.fraction == "none"
    assert str(found).endswith("each process contrasts its own samples alone")


def test_positives_that_do_not_shift_with_the_rank() -> None:
    found = check_gradients(others.unshifted, THREE)
    assert not found.shifts
    assert not found.parallel
    assert str(found).endswith("its masks or targets do not shift with the rank")


def test_single_precision_and_a_name() -> None:
    import torch

    found = check_gradients("couplings:GCAINCE", THREE, dtype=torch.float32, samples=3, dimension=5, views=3)
    assert found.right
    assert found.residual < 1e-4  # roundings of 1e-7, of a few sweeps at a temperature of 0.2


@pytest.mark.parametrize(
    ("factory", "options", "words"),
    [
        ("couplings", {}, "factory must be a function or 'module:function', got 'couplings'"),
        ("couplings:InfoNSE", {}, "there is no factory 'couplings:InfoNSE'"),
        (others.ours, {"processes": 1}, "processes must be at least 2, got 1"),
        (others.ours, {"samples": 1}, "samples must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_compared(factory: object, options: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_gradients(factory, **options)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_a_loss_that_fails_says_where() -> None:
    with pytest.raises(ProcessFailed, match=r"process 0 of 3:\n(.|\n)*no licence"):
        check_gradients(others.not_there, THREE)
    with pytest.raises(ProcessFailed, match="cannot be pickled"):
        check_gradients(lambda: others.ours(), THREE)
