"""What to change, in plain words, with the number that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from couplings.inspection.inspection import Inspection

__all__ = ["Advice", "Level", "advice"]


class Level(Enum):
    """How urgent."""

    FAULT = "fault"
    LOOK = "look"
    GOOD = "good"


@dataclass(frozen=True)
class Advice:
    """A finding in a sentence, and what to do about it; empty where nothing is to be done."""

    level: Level
    finding: str
    remedy: str


_COLLAPSED, _LOW = 0.05, 0.2
_FEW_NEGATIVES, _MANY_NEGATIVES = 0.1, 0.9
_DUPLICATES, _FAILING = 0.001, 0.02
_BY_IDS = " (which finds images by their ids: inspect with --ids)"
_ORDER = (Level.FAULT, Level.LOOK, Level.GOOD)


def advice(found: Inspection) -> list[Advice]:
    """All findings, the urgent ones first; of each subject at most one.

    The bounds are rules of thumb: an effective rank under a twentieth of the dimensions is collapse, under a fifth low;
    fewer than a tenth of the negatives that do all the pushing is hard, more than nine tenths soft; duplicates count
    from one row in a thousand, failing positives from two in a hundred.
    """
    rules: tuple[Callable[[Inspection], Iterator[Advice]], ...] = (
        _rank,
        _dimensions,
        _duplicates,
        _positives,
        _hubs,
        _labels,
        _negatives,
    )
    every = [one for rule in rules for one in rule(found)]
    return sorted(every, key=lambda one: _ORDER.index(one.level))


def _rank(found: Inspection) -> Iterator[Advice]:
    rank, dimension = found.space.effective_rank, min(found.subject.embeddings.shape)
    text = f"The embeddings spread over {rank:.1f} of {dimension} dimensions (effective rank)"
    if rank < _COLLAPSED * dimension:
        yield Advice(
            Level.FAULT,
            f"{text}: collapsed.",
            "Lower the temperature or the learning rate; check that the samples differ.",
        )
    elif rank < _LOW * dimension:
        yield Advice(
            Level.LOOK,
            f"{text}: few are in use.",
            "Lower the temperature, take larger batches, or fewer dimensions: most of them carry nothing.",
        )
    else:
        yield Advice(Level.GOOD, f"{text}: no collapse.", "")


def _dimensions(found: Inspection) -> Iterator[Advice]:
    dead = found.space.collapsed_dimensions.tolist()
    if dead:
        named = ", ".join(map(str, dead[:8])) + (", ..." if len(dead) > 8 else "")
        yield Advice(
            Level.FAULT,
            f"{_count(len(dead), 'dimension hardly varies', 'dimensions hardly vary')}: {named}.",
            "Look for dead units or a constant feature in the last layer.",
        )


def _duplicates(found: Inspection) -> Iterator[Advice]:
    rows = len(torch.unique(found.duplicates.pairs))
    share = rows / len(found.subject)
    if rows:
        yield Advice(
            Level.FAULT if share >= _DUPLICATES else Level.LOOK,
            f"{rows:,} rows ({100 * share:.2f} %) have an exact or near duplicate, in "
            f"{_count(len(found.duplicates.pairs), 'pair', 'pairs')}; the loss pushes them apart as if they differed.",
            "Keep one of each group of duplicates.csv, give its rows the same id, or train with "
            f"--exclude-pairs duplicates.csv{_BY_IDS if found.subject.ids is None else ''}.",
        )
    else:
        yield Advice(Level.GOOD, "No duplicates stand out from their surroundings.", "")


def _positives(found: Inspection) -> Iterator[Advice]:
    if found.subject.positives is None:
        return
    failing, share = len(found.failing_positives), len(found.failing_positives) / len(found.subject)
    text = f"{failing:,} positives ({100 * share:.1f} %) are no nearer than a random sample could be"
    if share >= _FAILING:
        yield Advice(
            Level.FAULT,
            f"{text}.",
            "Look at the first of them: swapped pairs, wrong captions, or views too strong to be recognised.",
        )
    else:
        yield Advice(Level.GOOD, f"{text}: pairs are recognised.", "")


def _hubs(found: Inspection) -> Iterator[Advice]:
    hubs = len(found.hubs)
    if hubs:
        heaviest = found.survey.mass.max().item()
        yield Advice(
            Level.LOOK,
            f"{_count(hubs, 'row is a hub', 'rows are hubs')}: the heaviest pushes the others {heaviest:.1f} times "
            "as hard as the average row.",
            "A loss with a column marginal gives every sample the same say: hcl-ot, gca-ince, sinkhorn-cacr.",
        )


def _labels(found: Inspection) -> Iterator[Advice]:
    truth = found.truth
    if truth is None:
        return
    excess = truth.push_on_same / max(truth.chance, 1e-12)
    text = (
        f"{100 * truth.push_on_same:.1f} % of all push falls on pairs of one label, which are "
        f"{100 * truth.chance:.1f} % of the pairs"
    )
    if excess > 1.5:
        yield Advice(
            Level.LOOK,
            f"{text}: {excess:.1f} times what chance would give.",
            "Softer weights (a higher temperature, less hardness) or --exclude-pairs spare them; supcon where labels "
            "may be used.",
        )
    else:
        yield Advice(Level.GOOD, f"{text}: about what chance gives.", "")


def _negatives(found: Inspection) -> Iterator[Advice]:
    effective = found.survey.effective_negatives.mean().item()
    others = found.survey.batch_size - 1
    text = f"The push on a sample is spread as over {effective:.0f} equal negatives of {others:.0f} in its batch"
    if effective < _FEW_NEGATIVES * others:
        yield Advice(
            Level.LOOK,
            f"{text}: a few decide.",
            "If they are false negatives, raise the temperature or lower the hardness; larger batches bring more.",
        )
    elif effective > _MANY_NEGATIVES * others:
        yield Advice(
            Level.LOOK,
            f"{text}: all count nearly alike.",
            "A lower temperature, or harder negatives (hcl, hcl-ot), would tell near from far.",
        )
    else:
        yield Advice(Level.GOOD, f"{text}.", "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
