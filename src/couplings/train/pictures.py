"""The pictures of a trained run: its curves and the coupling that drives its learning. Needs matplotlib."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from couplings.basics.errors import UserError
from couplings.losses import Sides, in_settings, losses_by_name, parameters_of
from couplings.report import coupling_picture, curves
from couplings.train.data import Dataset
from couplings.train.errors import DataError
from couplings.train.exclusions import read_exclusions
from couplings.train.folder import METRICS
from couplings.train.run import AbsentLoss, Run
from couplings.train.views import Views

CURVES, COUPLING = "curves.png", "coupling.png"
_ROWS = 100


def draw_run(run: Run, dataset: Dataset) -> list[Path]:
    """Write ``curves.png`` and ``coupling.png`` into the run's folder and return their paths.

    The coupling is that of a fixed batch of training images, a few of each class, in fresh views; there is none of a
    loss that is not known here.
    """
    drawn = [draw_curves(run)]
    return drawn if isinstance(run.loss, AbsentLoss) else [*drawn, draw_coupling(run, dataset, run.folder / COUPLING)]


def draw_curves(run: Run) -> Path:
    """Write ``curves.png`` into the run's folder."""
    path = run.folder / CURVES
    records = run.metrics()
    if not any("loss" in record for record in records):
        log = run.folder / METRICS
        raise DataError(f"{log} holds no record of the training, so that there is no curve to draw; restore it")
    curves(records, path, title=title(run, f", {run.step} steps"))
    return path


def title(run: Run, what: str) -> str:
    """The loss, the data set, the seed and ``what``; below them the loss's parameters, given or not."""
    settings = run.config.loss
    losses = losses_by_name()
    known = parameters_of(losses[settings.name]).items() if settings.name in losses else ()
    defaults = {name: part.default for name, part in known}
    # Switches say something only if they were turned.
    spoken = {name: value for name, value in defaults.items() if value is not None and not isinstance(value, bool)}
    params = ", ".join(f"{name} {in_settings(value)}" for name, value in (spoken | settings.params).items())
    return f"{settings.name} on {run.config.data.name}, seed {run.config.seed}{what}\n{params}"


@dataclass(frozen=True)
class _Batch:
    views: tuple[Tensor, ...]
    labels: Tensor | None
    sides: Sides

    def repeated(self) -> Tensor | None:
        """Labels of the rows in block order."""
        return None if self.labels is None else self.labels.repeat(len(self.views))


@torch.no_grad()
def draw_coupling(run: Run, dataset: Dataset, path: Path) -> Path:
    """Draw the largest coupling of the run's loss and its pair weights on one batch of views."""
    batch = _batch(run, dataset)
    views = run.model(torch.cat(batch.views)).projections.float().chunk(len(batch.views))
    plans = {name: coupling.plan() for name, coupling in run.loss.coupling(*views, **batch.sides).items()}
    if run.loss.weighs_positives:  # the plan over negatives is what there is to see
        plans.pop("attraction")
    name = max(plans, key=lambda key: plans[key].numel())
    coupling_picture(
        plans[name],
        run.loss.pair_weights(*views, **batch.sides),
        path,
        labels=batch.repeated(),
        images=torch.cat(batch.views),
        ids=torch.arange(len(batch.views[0])).repeat(len(batch.views)),
        classes=dataset.classes,
        title=title(run, f": {'coupling' if name == 'plan' else f'coupling ({name})'} of one batch"),
    )
    return path


def _batch(run: Run, dataset: Dataset) -> _Batch:
    generator = torch.Generator().manual_seed(run.config.seed)
    count = min(max(2, _ROWS // run.config.views.count), len(dataset.train_images))
    chosen = _chosen(dataset, count, generator)
    views = Views(run.config.views, dataset.shape.channels)(dataset.train_images[chosen], generator)
    labels = None if dataset.train_labels is None else dataset.train_labels[chosen]
    return _Batch(views[: run.config.views.count], labels, _sides(run, dataset, chosen))


def _sides(run: Run, dataset: Dataset, chosen: Tensor) -> Sides:
    """Labels, domains and excluded pairs where the loss was trained with them."""
    pairs, sides = run.config.pairs, Sides()
    if pairs.labels and dataset.train_labels is not None:
        sides["labels"] = dataset.train_labels[chosen]
    if pairs.domains and dataset.train_domains is not None:
        sides["domains"] = dataset.train_domains[chosen]
    if pairs.exclude is not None:
        # A picture is no reason to fail where the file is gone since.
        with suppress(UserError):
            rows = chosen.repeat(run.config.views.count)
            sides["mask"] = read_exclusions(pairs.exclude, dataset).exclusions.mask(rows, rows)
    return sides


def _chosen(dataset: Dataset, count: int, generator: torch.Generator) -> Tensor:
    """Random images, as many of each class as the first classes allow."""
    order = torch.randperm(len(dataset.train_images), generator=generator)
    if dataset.train_labels is None:
        return order[:count]
    labels = dataset.train_labels[order]
    classes = labels[labels >= 0].unique()[:count]
    each = max(1, count // max(1, len(classes)))
    picked = [order[labels == label][:each] for label in classes]
    return torch.cat(picked) if sum(map(len, picked)) > 1 else order[:count]
