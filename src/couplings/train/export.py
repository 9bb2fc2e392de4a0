"""A trained encoder on its own: safetensors and ONNX files that need no run folder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from couplings import __version__
from couplings.system.files import half_written
from couplings.train.checkpoint import load_weights, read_json, save_weights, write_bytes, write_json
from couplings.train.config import EncoderConfig, ProjectorConfig
from couplings.train.encoders import Encoder, ImageShape, Model, build_encoder, head
from couplings.train.errors import ConfigError, DataError
from couplings.train.folder import CONFIG, ENCODER_FORMAT, make_folders, remove_empty
from couplings.train.onnx_graph import Check, Graph, onnx_graph
from couplings.train.run import Run
from couplings.train.usage import usage

__all__ = ["Exported", "check_target", "export", "image_shape", "is_export", "load_encoder", "load_model"]

WEIGHTS, ONNX, README = "model.safetensors", "encoder.onnx", "README.md"
_VERSION = 1


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: holds ``files``.
        onnx: how far the ONNX file is from torch; None without one.
        usage: how the files are used, as in the folder's ``README.md``.
    """

    folder: Path
    files: tuple[str, ...]
    onnx: Check | None
    usage: str


def export(
    run: Run,
    folder: Path | str,
    *,
    with_projector: bool = False,
    onnx: bool = True,
    overwrite: bool = False,
) -> Exported:
    """Write the encoder of a run as safetensors with a config, and as ONNX, checked with onnxruntime.

    The files take plain images, floats from 0 to 1: the mean and deviation of the training images are inside. Weights
    are float32. All is computed before the first file is written.

    Args:
        run: a trained run.
        folder: of the export, new or empty, or of an export that was killed.
        with_projector: the projector too; the ONNX file then gives features and projections.
        onnx: write the ONNX file, which needs the extra ``export``.
        overwrite: replace an export that lies in ``folder``.

    Raises:
        ConfigError: a folder that holds something else, an export without ``overwrite``, or a missing library.
        DataError: the network has no graph that agrees with torch; the other files are whole.
        OSError: a file cannot be written; nothing of the export is left.

    Example:
        >>> from tempfile import mkdtemp
        >>> from couplings.train import Silent, fit
        >>> run = fit(torch.randint(256, (64, 8, 8)), batch_size=32, steps=2, observer=Silent())
        >>> place = mkdtemp()
        >>> export(run, place, onnx=False).files
        ('config.json', 'model.safetensors', 'README.md')
        >>> load_encoder(place)(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 128])
    """
    place = Path(folder)
    check_target(place, overwrite)
    parts = _parts(run.model, with_projector)
    graph = onnx_graph(parts, run.shape) if onnx else None
    config = _describe(run, parts, graph)
    text = usage(config, place)
    _write(place, parts, run.step, graph, config, text)
    if graph is not None and graph.failure is not None:
        raise DataError(f"{graph.failure}; no {ONNX} is left in {place}, the other files are written")
    files = (CONFIG, WEIGHTS, *([] if graph is None else [ONNX]), README)
    return Exported(place, files, None if graph is None else graph.check, text)


def is_export(folder: Path) -> bool:
    """Whether the folder was written by :func:`export`."""
    try:
        return _is_ours(read_json(folder / CONFIG))
    except DataError:
        return False


def image_shape(folder: Path) -> ImageShape:
    """Of the images that the encoder of an export was trained on."""
    return ImageShape(*read_json(folder / CONFIG)["image_shape"])


def load_encoder(folder: Path | str) -> Encoder:
    """The encoder of an export, in eval mode: images ``(n, c, h, w)`` as floats from 0 to 1, to features ``(n, dim)``.

    Raises:
        DataError: a file is missing, damaged, or of something else.
    """
    return _encoder(_loaded(Path(folder)))


def load_model(folder: Path | str) -> Model:
    """Encoder and projector of an export with a projector, in eval mode.

    Raises:
        DataError: a file is missing, damaged, or of something else, or the export has no projector.
    """
    parts = _loaded(Path(folder))
    if "projector" not in parts:
        raise DataError(f"{folder} was exported without its projector; couplings export --with-projector writes it")
    return Model(_encoder(parts), parts["projector"]).eval()


def _loaded(folder: Path) -> nn.ModuleDict:
    saved = read_json(folder / CONFIG)
    if not _is_ours(saved):
        hint = "; Run.load reads a run's folder" if isinstance(saved, dict) and "image_shape" in saved else ""
        raise DataError(f"{folder / CONFIG} is not of an exported encoder{hint}")
    try:
        parts = _build(saved)
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / CONFIG} was not written by couplings export ({error!r})") from None
    load_weights(folder / WEIGHTS, {"": parts})
    return parts.eval()


def _encoder(parts: nn.ModuleDict) -> Encoder:
    encoder = parts["encoder"]
    assert isinstance(encoder, Encoder)
    return encoder


def _is_ours(saved: Any) -> bool:
    return isinstance(saved, dict) and saved.get("format") == ENCODER_FORMAT


def _build(saved: Mapping[str, Any]) -> nn.ModuleDict:
    """The parts that an export's config describes, with random weights."""
    if saved["version"] > _VERSION:
        raise DataError(f"the export is of version {saved['version']}, newer than this couplings; update couplings")
    settings = EncoderConfig(**saved["encoder"])
    with torch.random.fork_rng([]):
        encoder = build_encoder(settings.name, ImageShape(*saved["image_shape"]), dict(settings.params))
        if saved["projector"] is None:
            return nn.ModuleDict({"encoder": encoder})
        size = ProjectorConfig(**saved["projector"])
        return nn.ModuleDict(
            {"encoder": encoder, "projector": head(encoder.dim, size.hidden, size.dim, size.batch_norm)}
        )


def _parts(model: Model, with_projector: bool) -> nn.ModuleDict:
    """A float32 copy on the CPU."""
    parts = {"encoder": model.encoder, **({"projector": model.projector} if with_projector else {})}
    return copy.deepcopy(nn.ModuleDict(parts)).cpu().float().eval()


def _describe(run: Run, parts: nn.ModuleDict, graph: Graph | None) -> dict[str, Any]:
    """What ``config.json`` holds: enough to build the parts again, and where they come from."""
    # The weights are here: nothing is fetched when they are loaded.
    encoder = run.config.encoder.from_scratch
    return {
        "format": ENCODER_FORMAT,
        "version": _VERSION,
        "encoder": {"name": encoder.name, "params": encoder.params},
        "projector": run.config.projector.model_dump() if "projector" in parts else None,
        "image_shape": list(run.shape),
        "features": run.encoder.dim,
        "onnx": graph.describe() if graph is not None and graph.failure is None else None,
        "trained": {
            "data": run.config.data.name,
            "loss": run.config.loss.name,
            "seed": run.config.seed,
            "step": run.step,
            "steps": run.config.steps,
        },
        "couplings": __version__,
    }


def check_target(folder: Path, overwrite: bool) -> None:
    """Refuse a folder before anything is computed for it.

    Raises:
        ConfigError: it holds something else than an export, or an export and not ``overwrite``.
    """
    if not folder.exists() or (folder.is_dir() and all(map(half_written, folder.iterdir()))):
        return
    if not is_export(folder):
        raise ConfigError(f"folder: {folder} exists and is no export; name another folder")
    if not overwrite and _is_whole(folder):
        raise ConfigError(
            f"folder: {folder} holds an export already; name another folder, or replace it with --overwrite"
            " (overwrite=True in Python)"
        )


def _is_whole(folder: Path) -> bool:
    """Whether nothing is missing of an export: one that was killed is gone on with."""
    wanted = [WEIGHTS, README, *([ONNX] if read_json(folder / CONFIG).get("onnx") else [])]
    return all((folder / name).is_file() for name in wanted)


def _write(folder: Path, parts: nn.Module, step: int, graph: Graph | None, config: dict[str, Any], text: str) -> None:
    """Write the files, the config first, which tells whose the others are; on failure none is left."""
    made = make_folders(folder)
    try:
        _unlink(folder)
        write_json(folder / CONFIG, config)
        save_weights(folder / WEIGHTS, {"": parts}, step)
        if graph is not None and graph.failure is None:
            write_bytes(folder / ONNX, graph.data)
        write_bytes(folder / README, text.encode())
    except BaseException:
        _unlink(folder)
        remove_empty(made)
        raise


def _unlink(folder: Path) -> None:
    # The config last: without it nobody knows whose the others are.
    for name in (WEIGHTS, ONNX, README, CONFIG):
        (folder / name).unlink(missing_ok=True)
