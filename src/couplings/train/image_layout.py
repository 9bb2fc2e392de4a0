"""What the folders that an image lies in say of it: its part, its class, its domain. No file is opened for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from couplings.basics.errors import warn
from couplings.train.data import Part
from couplings.train.errors import DataError

__all__ = ["Place", "places_of"]


class _Role(Enum):
    """What a folder of the first level is by its name."""

    TRAIN = "train"
    TEST = "test"
    BARE = "without labels"


_NAMES: Mapping[str, _Role] = {
    **dict.fromkeys(("train", "training"), _Role.TRAIN),
    **dict.fromkeys(("test", "testing", "val", "valid", "validation"), _Role.TEST),
    **dict.fromkeys(("unlabeled", "unlabelled"), _Role.BARE),
}
"""Lower-case names of folders that are no classes."""


class Place(NamedTuple):
    """What is known of an image; None where its path does not say."""

    part: Part | None
    name: str | None
    domain: str | None = None


def places_of(folder: Path, paths: Sequence[Path], domains: bool) -> list[Place]:
    """What the paths of images below a folder say of each.

    Raises:
        DataError: parts beside classes, two parts for one purpose, an image beside folders of classes, or with
            ``domains`` one outside of them.

    Warns:
        CouplingWarning: classes that look like domains.
    """
    inside = [path.relative_to(folder).parts for path in paths]
    roles = _roles(folder, inside)
    # Rows of each folder whose inside is laid out alike: a part, or everything.
    groups: dict[str | None, list[int]] = {}
    for row, steps in enumerate(inside):
        top = steps[0] if steps[0] in roles and len(steps) > 1 else None
        groups.setdefault(top, []).append(row)
    found: dict[int, Place] = {}
    for top, rows in groups.items():
        role = None if top is None else roles[top]
        below = [inside[row][1 if role else 0 :] for row in rows]
        part = None if _Role.TRAIN not in roles.values() else Part.TEST if role is _Role.TEST else Part.TRAIN
        if role is _Role.BARE:
            named = [Place(part, None)] * len(rows)
        else:
            _check_depths([paths[row] for row in rows], below, domains)
            named = [_place(part, steps, domains) for steps in below]
            if not domains:
                _tell_domains(folder, below)
        found |= dict(zip(rows, named, strict=True))
    return [found[row] for row in range(len(paths))]


def _place(part: Part | None, steps: tuple[str, ...], domains: bool) -> Place:
    if len(steps) == 1:
        return Place(part, None)
    return Place(part, steps[1], steps[0]) if domains else Place(part, steps[0])


def _roles(folder: Path, inside: Sequence[tuple[str, ...]]) -> dict[str, _Role]:
    """The folders of the first level that are parts, or hold images without labels; what is left are classes."""
    named = {path.name: role for path in folder.iterdir() if (role := _NAMES.get(path.name.lower())) and path.is_dir()}
    classes = sorted({steps[0] for steps in inside if len(steps) > 1} - set(named))
    trains, tests = (sorted(name for name, role in named.items() if role is one) for one in (_Role.TRAIN, _Role.TEST))
    if classes and trains and not tests and all(len(steps) == 2 for steps in inside if steps[0] in trains):
        # A folder of pictures of trains.
        return {name: role for name, role in named.items() if role is _Role.BARE}
    parts = [*trains, *tests]
    if parts and classes:
        raise DataError(
            f"{folder / classes[0]} lies beside {_listed(parts)}, which are parts by their names; move it into one of"
            " them, or rename them if they are classes"
        )
    for double in (trains, tests):
        if len(double) > 1:
            raise DataError(
                f"{folder} holds {_listed(double)}: one part is trained on, and one measured on; move the other away"
            )
    if not trains and (tests or (named and not classes)):
        alone = (tests or sorted(named))[0]
        raise DataError(f"{folder} holds {_listed([alone])} and no train/; name {folder / alone} itself, or add train/")
    for steps in inside:
        if parts and len(steps) == 1:
            raise DataError(f"{folder / steps[0]} lies beside {_listed(parts)}; move it into one of them")
    for name in parts:
        if all(steps[0] != name for steps in inside):
            raise DataError(f"{folder / name} holds no images; add some, or remove it")
    return named


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"{name}/" for name in names)


def _check_depths(paths: Sequence[Path], below: Sequence[tuple[str, ...]], domains: bool) -> None:
    depths = [len(steps) for steps in below]
    if domains and min(depths) < 3:
        shallow = paths[depths.index(min(depths))]
        raise DataError(f"{shallow} is not in DOMAIN/CLASS/; move it there, or set data.domains=false")
    if min(depths) == 1 and max(depths) > 1:
        raise DataError(f"{paths[depths.index(1)]} lies beside folders of classes; move it into one of them")


def _tell_domains(folder: Path, below: Sequence[tuple[str, ...]]) -> None:
    """Say so where every class holds folders of the same names."""
    if min(len(steps) for steps in below) < 3:
        return
    inner = {name: {steps[1] for steps in below if steps[0] == name} for name in sorted({steps[0] for steps in below})}
    first, *others = inner.values()
    if len(first) > 1 and others and all(one == first for one in others):
        warn(
            f"{folder}: {', '.join(inner)} are read as classes, and each holds the folders {', '.join(sorted(first))};"
            " if these are the classes, set data.domains=true"
        )
