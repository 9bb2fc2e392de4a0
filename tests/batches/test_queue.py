"""A queue of keys keeps the last ones, in order, whatever the batch."""

from __future__ import annotations

import pytest
import torch

from couplings import InfoNCE, InvalidInput, KeyQueue


def _numbered(first: int, count: int, dim: int = 2) -> torch.Tensor:
    return torch.arange(first, first + count, dtype=torch.float32)[:, None].expand(count, dim).clone()


def _filled(size: int, batches: list[int], ids: bool = False) -> KeyQueue:
    queue, first = KeyQueue(size, 2), 0
    for count in batches:
        queue.enqueue(_numbered(first, count), torch.arange(first, first + count) if ids else None)
        first += count
    return queue


def _by_age(queue: KeyQueue) -> list[float]:
    """Oldest first."""
    keys, place = queue.keys, int(queue.place)
    if keys is None:
        return []
    return (keys.roll(-place, 0) if len(queue) == queue.size else keys)[:, 0].tolist()


@pytest.mark.parametrize("size", [1, 3, 5, 8])
@pytest.mark.parametrize("batches", [[2], [2, 2], [3, 3, 3], [5, 5], [4, 0, 3], [1] * 11, [7, 9], [20]], ids=str)
def test_the_last_keys_stay_in_order(size: int, batches: list[int]) -> None:
    """Also where a batch does not divide the size, or is larger."""
    queue = _filled(size, batches, ids=True)
    wanted = [float(key) for key in range(sum(batches))][-size:]
    assert _by_age(queue) == wanted
    assert len(queue) == len(wanted)
    assert queue.ids is not None
    assert queue.keys is not None
    assert torch.equal(queue.ids.float(), queue.keys[:, 0])


def test_an_empty_queue_adds_nothing() -> None:
    loss, queue, views = InfoNCE(), KeyQueue(4, 3), torch.randn(2, 5, 3)
    assert (queue.keys, queue.ids, len(queue)) == (None, None, 0)
    assert queue
    first = loss(*views, keys=queue.keys, ids=torch.arange(5), key_ids=queue.ids)
    assert torch.equal(first, loss(*views, ids=torch.arange(5)))
    queue.enqueue(views[1])
    assert loss(*views, keys=queue.keys) > first


def test_ids_keep_a_key_from_its_own_sample() -> None:
    loss, queue, views = InfoNCE(), KeyQueue(8, 3), torch.randn(2, 5, 3)
    queue.enqueue(views[1], torch.arange(5))
    value = loss(*views, keys=queue.keys, ids=torch.arange(5), key_ids=queue.ids)
    assert value < loss(*views, keys=queue.keys)


def test_keys_are_constants_in_the_queues_own_precision() -> None:
    queue = KeyQueue(4, 3)
    z = torch.randn(2, 3, dtype=torch.bfloat16, requires_grad=True)
    queue.enqueue(z)
    z.data.zero_()
    keys = queue.keys
    assert keys is not None
    assert keys.dtype == torch.float32
    assert not keys.requires_grad
    assert keys.abs().sum() > 0
    assert queue.double().keys.dtype == torch.float64  # type: ignore[union-attr]


@pytest.mark.parametrize("batches", [[2], [3, 3], [5, 5, 5]], ids=str)
def test_a_loaded_queue_goes_on_as_if_it_had_never_stopped(batches: list[int]) -> None:
    first, again = _filled(5, batches, ids=True), KeyQueue(5, 2)
    again.load_state_dict(first.state_dict())
    for queue in (first, again):
        queue.enqueue(_numbered(50, 2), torch.tensor([50, 51]))
    assert torch.equal(first.stored, again.stored)
    assert torch.equal(first.stored_ids, again.stored_ids)
    assert len(first) == len(again)
    assert set(first.state_dict()) == {"stored", "stored_ids", "place", "filled"}


def test_bad_input() -> None:
    queue = KeyQueue(4, 3)
    with pytest.raises(InvalidInput, match="keys have 2 dimensions but the queue holds keys of 3"):
        queue.enqueue(torch.randn(2, 2))
    with pytest.raises(InvalidInput, match=r"keys holds NaN \(first in row 1\)"):
        queue.enqueue(torch.tensor([[1.0, 0, 0], [torch.nan, 0, 0]]))
    with pytest.raises(InvalidInput, match="keys must be floating point"):
        queue.enqueue(torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(InvalidInput, match=r"ids must have shape \(2,\)"):
        queue.enqueue(torch.randn(2, 3), torch.arange(3))
    with pytest.raises(InvalidInput, match="ids must be integers"):
        queue.enqueue(torch.randn(2, 3), torch.ones(2))
    assert len(queue) == 0
    queue.enqueue(torch.randn(2, 3))
    with pytest.raises(InvalidInput, match="keys come with ids, those in the queue without: pass ids= always or never"):
        queue.enqueue(torch.randn(2, 3), torch.arange(2))
    assert len(queue) == 2
    for size, dim, message in ((0, 3, "size must be >= 1, got 0"), (3, 0, "dim must be"), (2.5, 3, "size must be an")):
        with pytest.raises(InvalidInput, match=message):
            KeyQueue(size, dim)  # type: ignore[arg-type]
    assert repr(KeyQueue(4, 3, gather=False)) == "KeyQueue(size=4, dim=3, gather=False)"
