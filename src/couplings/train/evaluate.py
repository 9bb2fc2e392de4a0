"""What frozen features are worth: kNN and linear probes beside raw pixels and encoders before training.

The features are those of the last step; no test image chooses anything.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from couplings.basics.errors import warn
from couplings.diagnostics import alignment, effective_rank, uniformity
from couplings.train.checkpoint import read_json, write_json
from couplings.train.config import EvaluationConfig, RunConfig
from couplings.train.data import Dataset, to_float
from couplings.train.encoders import Encoder
from couplings.train.errors import ConfigError, DataError
from couplings.train.folder import EVALUATION
from couplings.train.neighbours import knn_predict
from couplings.train.records import first_mistake
from couplings.train.run import Run, build_model, embed, without_fetching
from couplings.train.sources import load
from couplings.train.views import Views

__all__ = ["Evaluation", "Probe", "baselines", "evaluate", "read_evaluation"]


class Probe(NamedTuple):
    """Accuracies in [0, 1] of one kind of features.

    ``few_label_spread`` is the standard deviation of ``few_label`` over the draws of its labels.
    """

    knn: float
    linear: float
    few_label: float
    few_label_spread: float


class Baselines(NamedTuple):
    """What the accuracies of a trained encoder have to beat.

    ``untrained`` is the encoder with random weights; ``pretrained`` the one that training began from, where its weights
    are from elsewhere.
    """

    pixels: Probe
    untrained: Probe
    pretrained: Probe | None = None

    def rows(self) -> dict[str, Probe]:
        """Those that there are, by name."""
        rows = {"raw pixels": self.pixels, "untrained encoder": self.untrained}
        return rows if self.pretrained is None else {**rows, "pretrained encoder": self.pretrained}


@dataclass(frozen=True)
class Evaluation:
    """The accuracies beside their baselines, and how the features lie on the sphere.

    ``alignment`` and ``uniformity`` are of normalised features of test images; ``effective_rank`` is RankMe,
    between 1 (collapsed) and ``feature_dim``.
    """

    trained: Probe
    pixels: Probe
    untrained: Probe
    alignment: float
    uniformity: float
    effective_rank: float
    feature_dim: int
    seconds: float
    pretrained: Probe | None = None

    @property
    def baselines(self) -> Baselines:
        """What stands beside the trained encoder."""
        return Baselines(self.pixels, self.untrained, self.pretrained)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and numbers."""
        values = asdict(self)
        return values | {name: getattr(self, name)._asdict() for name in _PROBES if getattr(self, name) is not None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Evaluation:
        """The inverse of :meth:`to_json`.

        Raises:
            DataError: values that it does not give.
        """
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            raise DataError(first_mistake(error)) from None


def read_evaluation(folder: Path) -> Evaluation | None:
    """What was measured of a run; None if nothing was.

    Raises:
        DataError: the file is damaged, or not written by :func:`evaluate`; it is named.
    """
    path = folder / EVALUATION
    if not path.is_file():
        return None
    values = read_json(path)
    try:
        return Evaluation.from_json(values)
    except DataError as error:
        raise DataError(f"{path} was not written by couplings evaluate ({error})") from None


_PROBES = ("trained", "pixels", "untrained", "pretrained")


class _Split(NamedTuple):
    """Labelled images: a bank that trains the probes, and the test images."""

    bank: Tensor
    bank_labels: Tensor
    test: Tensor
    test_labels: Tensor


def _split(data: Dataset, limit: int) -> _Split:
    if data.train_labels is None or data.test_labels is None:
        raise DataError(f"{data.name}: evaluation needs labels of training and test images")
    known, asked = data.train_labels >= 0, data.test_labels >= 0
    if not asked.any():
        raise DataError(f"{data.name}: evaluation needs labelled test images, got none")
    classes = data.train_labels[known].unique()
    if len(classes) < 2:
        raise DataError(f"{data.name}: evaluation needs at least two classes, got {len(classes)}")
    rows = known.nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:limit]
    rows = rows[order]
    return _Split(data.train_images[rows], data.train_labels[rows], data.test_images[asked], data.test_labels[asked])


def _linear_accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Test accuracy of scikit-learn's logistic regression on standardised features."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # One penalty for all: within half a point of each kind's best on digits and, with few labels, on
    # Fashion-MNIST, where a stronger one lifts raw pixels with all labels by 1.2 points.
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300, tol=1e-3))
    with warnings.catch_warnings():
        # After 300 iterations the accuracy has settled, whether or not the weights have.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(train, labels)
    return float(probe.score(test, truth))


def _draw(labels: np.ndarray, few: int, seed: int) -> np.ndarray:
    """Rows of ``few`` random samples of each class (all of a smaller class)."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(np.flatnonzero(labels == name))[:few] for name in np.unique(labels)]
    return np.concatenate(rows)


def _probe(features: Callable[[Tensor], Tensor], split: _Split, config: EvaluationConfig) -> Probe:
    bank, test = features(split.bank), features(split.test)
    guess = knn_predict(bank, split.bank_labels, test, config.neighbours)
    known, truth, rows, columns = split.bank_labels.numpy(), split.test_labels.numpy(), bank.numpy(), test.numpy()
    picks = [_draw(known, config.few_labels, seed) for seed in range(config.draws)]
    few = [_linear_accuracy(rows[pick], known[pick], columns, truth) for pick in picks]
    return Probe(
        knn=float((guess == split.test_labels).float().mean()),
        linear=_linear_accuracy(rows, known, columns, truth),
        few_label=float(np.mean(few)),
        few_label_spread=float(np.std(few, ddof=1)) if len(few) > 1 else 0.0,
    )


def _pixels(images: Tensor) -> Tensor:
    return to_float(images).flatten(1)


def untrained_encoder(config: RunConfig, data: Dataset) -> Encoder:
    """The encoder of a config with random weights, its batch-norm statistics set on training images."""
    encoder = _start(without_fetching(config), data)
    norms = [part for part in encoder.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        # None makes the running statistics a plain average over the passes.
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        for images in data.limited(2048).train_images.split(256):
            encoder.train()(to_float(images))
    return encoder.eval()


def _start(config: RunConfig, data: Dataset) -> Encoder:
    """The encoder of a config as training begins with it."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = build_model(config, data.shape).encoder
    encoder.standardise_by(data.train_images)
    return encoder.eval()


def baselines(dataset: Dataset, config: RunConfig) -> Baselines:
    """The probes of raw pixels, of the untrained and any pretrained encoder, for all runs of one encoder and seed.

    Warns:
        CouplingWarning: the pretrained weights cannot be had any more; their row is left out.
    """
    split = _split(dataset, config.evaluation.probe_limit)
    untrained, pretrained = untrained_encoder(config, dataset), _pretrained(config, dataset)
    return Baselines(
        pixels=_probe(_pixels, split, config.evaluation),
        untrained=_probe(partial(embed, untrained), split, config.evaluation),
        pretrained=None if pretrained is None else _probe(partial(embed, pretrained), split, config.evaluation),
    )


def _pretrained(config: RunConfig, data: Dataset) -> Encoder | None:
    if not config.encoder.pretrained:
        return None
    try:
        return _start(config, data)
    except ConfigError as error:
        warn(f"the pretrained encoder is not measured: {error}")
        return None


class _Geometry(NamedTuple):
    alignment: float
    uniformity: float
    effective_rank: float


def _geometry(run: Run, data: Dataset) -> _Geometry:
    """How the features of test images, and of two views of them, lie."""
    images = data.test_images[:2000]
    generator = torch.Generator().manual_seed(0)
    views = Views(run.config.views, data.shape.channels)(images, generator)[:2]
    pair = [embed(run.encoder, view) for view in views]
    features = embed(run.encoder, images)
    return _Geometry(alignment(*pair).item(), uniformity(features).item(), effective_rank(features).item())


def evaluate(run: Run, dataset: Dataset | None = None, baseline: Baselines | None = None) -> Evaluation:
    """Measure a run's frozen features and write ``evaluation.json`` into its folder.

    Args:
        run: a trained run.
        dataset: the images; by default those it was trained on, or what its config names.
        baseline: of :func:`baselines`, if computed already.

    Raises:
        DataError: no labels, one class only, no test images, or images of another shape than the run's.
    """
    start = time.perf_counter()
    data = dataset or run.dataset or load(run.config.data)
    run.check_shape(data.shape)
    split = _split(data, run.config.evaluation.probe_limit)
    found = baseline or baselines(data, run.config)
    trained = _probe(lambda images: embed(run.encoder, images), split, run.config.evaluation)
    geometry = _geometry(run, data)
    seconds = time.perf_counter() - start
    result = Evaluation(trained, found.pixels, found.untrained, *geometry, run.encoder.dim, seconds, found.pretrained)
    write_json(run.folder / EVALUATION, result.to_json())
    return result
