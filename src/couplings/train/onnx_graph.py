"""A network as an ONNX graph, held against torch before anyone gets it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from couplings.train.encoders import ImageShape
from couplings.train.extras import imported

__all__ = ["TOLERANCE", "Check", "Graph", "onnx_graph"]

TOLERANCE = 1e-4
"""The largest difference allowed between onnxruntime and torch, as a share of the largest output. Networks from 0.1
to 30 million parameters come within 3e-6."""

BATCHES = (1, 3, 16)
"""Sizes of the batches that are compared; none is the size that the graph was traced with."""

_TRACED = 2
_WANTS, _INSTALL = "the ONNX file (--no-onnx does without)", "'couplings[export]'"


class Check(NamedTuple):
    """How far onnxruntime is from torch: the largest difference, and as a share of the output's largest entry."""

    difference: float
    relative: float

    @property
    def passed(self) -> bool:
        """Whether it is within the tolerance (NaN is not)."""
        return self.relative <= TOLERANCE


@dataclass(frozen=True)
class Graph:
    """An ONNX file in memory.

    Attributes:
        data: the file; empty if there is none.
        outputs: names of its outputs; the input is ``images``.
        check: against torch; None where it could not be made.
        failure: why the graph may not be used; None if it may.
    """

    data: bytes
    outputs: tuple[str, ...]
    check: Check | None
    failure: str | None

    def describe(self) -> dict[str, Any]:
        """For a config file."""
        assert self.check is not None
        found = {"max_difference": self.check.difference, "relative": self.check.relative, "tolerance": TOLERANCE}
        return {"input": "images", "outputs": list(self.outputs), **found}


class _Parts(nn.Module):
    """What the graph computes: features, and projections if there is a projector."""

    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.parts = parts
        self.outputs = ("features", "projections") if "projector" in parts else ("features",)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images ``(n, c, h, w)`` to the outputs, each ``(n, d)``."""
        features = self.parts["encoder"](images)
        return (features, self.parts["projector"](features)) if "projector" in self.parts else (features,)


def onnx_graph(parts: nn.ModuleDict, shape: ImageShape) -> Graph:
    """Trace ``encoder`` and, if there is one, ``projector``, with any number of images, and compare with torch.

    Raises:
        ConfigError: a library of the extra ``export`` is not installed.
    """
    runtime = imported("onnxruntime", _WANTS, _INSTALL)
    for library in ("onnx", "onnxscript"):
        imported(library, _WANTS, _INSTALL)
    network = _Parts(parts).eval()
    data = b""
    try:
        data = _traced(network, shape)
        check = _compared(network, data, shape, runtime)
    # Exporter and runtime raise what they like; whatever it is, there is no graph to be used.
    except Exception as error:
        return Graph(data, network.outputs, None, f"ONNX: this network cannot be converted ({_first_line(error)})")
    return Graph(data, network.outputs, check, None if check.passed else _differs(check))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def _differs(check: Check) -> str:
    return (
        f"ONNX: onnxruntime and torch differ by {check.difference:.1e}, {check.relative:.1e} of the largest output, "
        f"where {TOLERANCE:.0e} is allowed"
    )


def _traced(network: _Parts, shape: ImageShape) -> bytes:
    images = torch.zeros(_TRACED, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            input_names=["images"],
            output_names=list(network.outputs),
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def _compared(network: _Parts, data: bytes, shape: ImageShape, runtime: ModuleType) -> Check:
    """The largest difference over batches of several sizes, on seeded noise over the range of pixels."""
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for size in BATCHES:
        images = torch.rand(size, *shape, generator=generator)
        with torch.no_grad():
            wanted = network(images)
        came = session.run(list(network.outputs), {"images": images.numpy()})
        pairs += [(torch.from_numpy(one), other) for one, other in zip(came, wanted, strict=True)]
    return _largest(pairs)


def _largest(pairs: Iterable[tuple[Tensor, Tensor]]) -> Check:
    """Over outputs and batches, each output on its own scale; NaN if anything is NaN."""
    both = [((came - wanted).abs().max(), wanted.abs().max()) for came, wanted in pairs]
    differences, scales = (torch.stack(values) for values in zip(*both, strict=True))
    # An output of zeros is compared as it is.
    relative = differences / torch.where(scales > 0, scales, 1)
    return Check(differences.max().item(), relative.max().item())
