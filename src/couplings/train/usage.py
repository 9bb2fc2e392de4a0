"""How an exported encoder is used, in a few lines for its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["usage"]


def usage(config: Mapping[str, Any], folder: Path) -> str:
    """The ``README.md`` of an export with this config."""
    return "\n".join([*_title(config), *_torch(config, folder), *_onnx(config, folder)])


def _title(config: Mapping[str, Any]) -> list[str]:
    trained, (channels, height, width) = config["trained"], config["image_shape"]
    return [
        f"# Encoder: {config['encoder']['name']}, {config['features']} features",
        "",
        f"Trained with couplings {config['couplings']} on {trained['data']} by {trained['loss']}, seed "
        f"{trained['seed']}, {trained['step']} of {trained['steps']} steps.",
        "",
        f"Images: float32, 0 to 1 (a byte divided by 255), `(n, {channels}, {height}, {width})`. Mean and deviation of",
        "the training images are inside: do not standardise.",
    ]


def _torch(config: Mapping[str, Any], folder: Path) -> list[str]:
    shape = ", ".join(str(side) for side in config["image_shape"])
    lines = [
        "import torch",
        "from couplings.train import load_encoder",
        "",
        f"encoder = load_encoder({str(folder)!r})",
        "with torch.no_grad():",
        f"    features = encoder(torch.rand(16, {shape}))    # (16, {config['features']})",
    ]
    if config["projector"] is not None:
        lines += ["# couplings.train.load_model gives encoder and projector."]
    return ["", "## PyTorch", "", "```python", *lines, "```", ""]


def _onnx(config: Mapping[str, Any], folder: Path) -> list[str]:
    if config["onnx"] is None:
        return []
    shape, outputs = ", ".join(str(side) for side in config["image_shape"]), config["onnx"]["outputs"]
    return [
        "## ONNX",
        "",
        "```python",
        "import numpy as np",
        "import onnxruntime",
        "",
        f"session = onnxruntime.InferenceSession({str(folder / 'encoder.onnx')!r})",
        f"images = np.random.rand(16, {shape}).astype(np.float32)",
        f"{', '.join(outputs)}{',' * (len(outputs) == 1)} = session.run(None, {{'images': images}})",
        "```",
        "",
        f"It differs from PyTorch by at most {config['onnx']['relative']:.0e} of the largest output.",
        "",
    ]
