"""What an inspection puts together: candidates, suspicion, groups, precision against labels, JSON that is JSON."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from couplings import Alignment, InfoNCE, InvalidInput
from couplings.diagnostics import repulsion
from couplings.inspection import Inspection, Settings, Subject, inspect
from couplings.inspection.files import numbers
from couplings.inspection.gallery import _cost
from couplings.inspection.truth import truth_of

_HOW = Settings(batch_size=16, rounds=2, shown=8)


def _subject(n: int = 80, **more: Any) -> Subject:
    """Four classes around four points; rows 0 and 1 are equal."""
    labels = torch.arange(n) // 2 % 4
    z = 2 * torch.eye(4, 8)[labels] + 0.5 * torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    z[1] = z[0]
    return Subject("made", z, labels=labels, classes=("a", "b", "c", "d"), **more)


def _inspected(subject: Subject, how: Settings = _HOW) -> Inspection:
    return inspect(subject, {"infonce": InfoNCE(0.2), "half": InfoNCE(0.5), "alignment": Alignment()}, how)


@pytest.fixture(scope="module")
def found() -> Inspection:
    return _inspected(_subject())


def test_candidates_are_the_most_similar_pairs(found: Inspection) -> None:
    candidates = found.candidates
    unit = torch.nn.functional.normalize(found.subject.embeddings.double(), dim=1)
    assert candidates.pairs[0].tolist() == [0, 1]
    torch.testing.assert_close(
        candidates.similarity, (unit[candidates.pairs[:, 0]] * unit[candidates.pairs[:, 1]]).sum(1)
    )
    every = (unit @ unit.T).triu(1)
    torch.testing.assert_close(candidates.similarity[:20], every[every != 0].sort(descending=True).values[:20])
    assert len(candidates.pairs) == 80
    assert len(_inspected(found.subject, replace(_HOW, pairs=7)).candidates.pairs) == 7


def test_suspicion_is_the_hardest_push_on_a_row(found: Inspection) -> None:
    expected = [0.0] * 80
    for (i, j), push in zip(found.candidates.pairs.tolist(), found.candidates.push.tolist(), strict=True):
        expected[i], expected[j] = max(expected[i], push), max(expected[j], push)
    assert found.suspicion.tolist() == expected


def test_precision_is_counted_against_labels(found: Inspection) -> None:
    assert found.truth is not None
    labels = found.subject.labels
    assert labels is not None
    same = [bool(labels[i] == labels[j]) for i, j in found.candidates.pairs.tolist()]
    (depth,) = found.truth.depths
    assert (depth.depth, depth.by_similarity) == (80, sum(same) / 80)
    chance = (labels[:, None] == labels).double().fill_diagonal_(0).sum() / (80 * 79)
    assert found.truth.chance == pytest.approx(float(chance), abs=0.05)
    assert found.truth.push_on_same > 1.5 * found.truth.chance


def test_push_within_classes_is_a_share_of_all_push(found: Inspection) -> None:
    subject, of_all, loss = found.subject, found.candidates, InfoNCE(0.2)
    labels = subject.labels
    assert labels is not None
    subject = replace(subject, embeddings=subject.embeddings.double())
    truth = truth_of(subject, loss, of_all.pairs, of_all.similarity, of_all.push, batch_size=80, seed=0)
    pushed, same = repulsion(loss, subject.embeddings), labels[:, None] == labels
    assert truth is not None
    assert truth.push_on_same == pytest.approx(float(pushed[same].sum() / pushed.sum()), rel=1e-9)
    assert truth.chance == pytest.approx((int(same.sum()) - 80) / (80 * 79))


def test_pairs_with_a_row_without_label_are_not_counted(found: Inspection) -> None:
    assert found.subject.labels is not None
    labels = torch.where(torch.arange(80) % 3 == 0, -1, found.subject.labels)
    truth = _inspected(replace(found.subject, labels=labels)).truth
    known = [pair for pair in labels[found.candidates.pairs].tolist() if min(pair) >= 0]
    same = [one == other for one, other in known]
    assert truth is not None
    (depth,) = truth.depths
    assert (depth.depth, depth.by_similarity) == (len(known), sum(same) / len(known))


def test_a_masked_pair_repels_in_neither_direction(found: Inspection) -> None:
    """The cost of masking, in a batch of all rows, whose order makes no difference."""
    whole = _inspected(found.subject, Settings(batch_size=80, rounds=1, shown=8))
    z, loss = found.subject.embeddings.double(), InfoNCE(0.2).apart()
    for one in whole.gallery[:3]:
        ends = torch.tensor([one.pair[0], one.pair[0] + 80]), torch.tensor([one.pair[1], one.pair[1] + 80])
        mask = torch.zeros(160, 160, dtype=torch.bool)
        for i in ends[0]:
            for j in ends[1]:
                mask[i, j] = mask[j, i] = True
        assert one.cost == pytest.approx((loss(z, z, mask=mask) - loss(z, z)).item(), rel=1e-9)


def test_without_labels_there_is_no_precision(found: Inspection) -> None:
    for labels in (None, torch.full((80,), -1)):
        bare = _inspected(replace(found.subject, labels=labels))
        assert bare.truth is None
        assert numbers(bare)["summary"]["precision"] == []


def test_losses_that_repel_nothing_are_left_out(found: Inspection) -> None:
    assert list(found.responses) == ["infonce", "half"]
    with pytest.raises(InvalidInput, match="loss: alignment repels nothing"):
        inspect(found.subject, {"alignment": Alignment()})


def test_groups_are_no_candidates_and_no_duplicates() -> None:
    groups = torch.arange(80) // 2
    found = _inspected(_subject(groups=groups))
    assert (groups[found.candidates.pairs[:, 0]] != groups[found.candidates.pairs[:, 1]]).all()
    assert found.duplicates.pairs.tolist() == []


def test_samples_as_they_are_say_who_is_alike() -> None:
    """Views of copies differ; the samples do not."""
    plain = _subject()
    noise = [0.3 * torch.randn(80, 8) for _ in range(2)]
    views = replace(plain, embeddings=plain.embeddings + noise[0], positives=plain.embeddings + noise[1])
    assert _inspected(views).duplicates.pairs.tolist() == []
    assert _inspected(replace(views, still=plain.embeddings)).duplicates.pairs.tolist() == [[0, 1]]


def test_rows_are_named_as_the_source_names_them() -> None:
    found = numbers(_inspected(_subject(numbers=100 + torch.arange(80))))
    assert found["duplicates"] == [[100, 101, 300]]
    assert found["summary"]["largest_mass_row"] >= 100
    assert all(row >= 100 for entry in found["gallery"] for row in entry["pair"])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_rows_and_equal_rows_give_json(n: int) -> None:
    for z in (torch.randn(n, 3), torch.ones(n, 3)):
        found = numbers(_inspected(Subject("few", z), Settings()))
        assert json.loads(json.dumps(found, allow_nan=False))["rows"] == n
        assert found["failing_positives"] == []


def test_an_inspection_is_seeded(found: Inspection) -> None:
    again, other = _inspected(found.subject), _inspected(found.subject, replace(_HOW, seed=1))
    assert torch.equal(again.survey.mass, found.survey.mass)
    assert torch.equal(again.candidates.push, found.candidates.push)
    assert not torch.equal(other.survey.mass, found.survey.mass)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch_size": 3}, "batch_size must be at least 4, got 3"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"shown": 1}, "shown must be at least 2, got 1"),
        ({"pairs": -1}, "pairs must be an integer >= 0, got -1"),
        ({"batch_size": 10**30}, r"batch_size must be at most 131,072, got more than 10\^12"),
        ({"rounds": 10**9}, "rounds must be at most 1,000, got 1000000000"),
        ({"seed": 2**32}, "seed must be at most 4,294,967,295, got 4294967296"),
    ],
)
def test_settings_that_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Settings(**how)


def test_pairs_with_an_unknown_label_are_not_counted() -> None:
    subject = _subject()
    found = _inspected(replace(subject, labels=subject.labels.where(torch.arange(80) % 2 == 0, -1)))  # type: ignore[union-attr]
    known = (found.candidates.pairs % 2 == 0).all(1)
    assert 0 < int(known.sum()) < len(known)
    assert found.truth is not None
    assert found.truth.depths[-1].depth == int(known.sum())


def test_masking_a_pair_masks_it_both_ways_in_all_views() -> None:
    views = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()
    sample = torch.arange(12) % 6
    pair = (sample[:, None] < 2) & (sample < 2) & (sample[:, None] != sample)
    cost, relative = _cost(_subject(6), InfoNCE(0.2), views, torch.arange(6))
    before, after = InfoNCE(0.2)(*views).item(), InfoNCE(0.2)(*views, mask=pair).item()
    assert cost == pytest.approx(after - before, rel=1e-9)
    assert relative == pytest.approx((after - before) / before, rel=1e-9)


def test_inspections_leave_nothing_behind() -> None:
    """Tensors and objects that are alive after one more inspection are those that were alive before it."""

    def alive() -> tuple[int, int]:
        inspect(_subject(24), {"infonce": InfoNCE(0.2)}, Settings(batch_size=8, rounds=1, shown=4, pairs=6))
        gc.collect()
        every = gc.get_objects()
        return sum(type(one) is torch.Tensor for one in every), len(every)

    alive()
    (tensors, objects), *_, (more_tensors, more_objects) = [alive() for _ in range(3)]
    assert more_tensors == tensors
    assert more_objects - objects < 30


def test_a_row_without_a_direction_is_to_be_dropped() -> None:
    with pytest.raises(
        InvalidInput, match=r"embeddings has a zero vector \(row 1\), which has no direction: drop the row$"
    ):
        Subject("made", torch.eye(3) * torch.tensor([[1.0], [0.0], [1.0]]))
