"""What `couplings export` and `couplings embed` do, once their words are understood."""

from __future__ import annotations

from pathlib import Path

from couplings.cli.options.export import EmbedOptions, PartName
from couplings.cli.options.settings import merged
from couplings.system.display import bar, say
from couplings.train.config import DataConfig, RunConfig, images_with, with_overrides
from couplings.train.embed_file import Part, check_output, count, embed_dataset, write_embeddings
from couplings.train.errors import ConfigError
from couplings.train.export import check_target, export
from couplings.train.onnx_graph import TOLERANCE
from couplings.train.presets import preset
from couplings.train.run import Run
from couplings.train.sources import load

_PARTS = {PartName.TRAIN: (Part.TRAIN,), PartName.TEST: (Part.TEST,), PartName.ALL: (Part.TRAIN, Part.TEST)}


def export_command(folder: Path, output: Path, *, with_projector: bool, onnx: bool, overwrite: bool) -> None:
    """Write, check and say how it is used."""
    check_target(output, overwrite)
    run = _opened(folder)
    done = export(run, output, with_projector=with_projector, onnx=onnx, overwrite=overwrite)
    if done.onnx is not None:
        say(
            f"ONNX agrees with torch: they differ by {done.onnx.difference:.1e} at most, {done.onnx.relative:.1e} of "
            f"the largest output ({TOLERANCE:.0e} is allowed), over batches of several sizes."
        )
    say(f"Written to {done.folder}: {', '.join(done.files)}.")
    say(f'Use it: from couplings.train import load_encoder; load_encoder("{done.folder}")(images)')
    say(f"More, with the images it takes: {done.folder / 'README.md'}.")


def embed_command(folder: Path, output: Path, options: EmbedOptions, *, overwrite: bool) -> None:
    """Embed and write."""
    check_output(output, overwrite)
    run = _opened(folder)
    data = load(_images(run.config, options))
    parts = _PARTS[options.part]
    total = count(data, parts)
    with bar(max(total, 1), "embedding") as progress:
        found = embed_dataset(run, data, parts, lambda done: progress.update(done, ""))
    write_embeddings(output, found)
    n, dim = found.features.shape
    say(f"Written: {output}, {n:,} x {dim} features (float32) of {data.name}, {len(found.classes)} classes.")
    say(_reading(output))


def _opened(folder: Path) -> Run:
    run = Run.load(folder)
    if not run.finished:
        say(f"This run was stopped after {run.step} of {run.config.steps} steps.")
    return run


def _images(config: RunConfig, options: EmbedOptions) -> DataConfig:
    """The run's images, or others at the size that the run's were brought to."""
    changes = merged(options.settings())
    for key in changes:
        if not key.startswith("data."):
            raise ConfigError(f"--set {key}: embed takes settings of the images alone, as in --set data.size=32")
    if options.data is None:
        if config.data.name == "arrays":
            raise ConfigError(
                "this run was trained on images given in Python; name others with --data, or use Run.embed"
            )
        return images_with(config.data, changes)
    size = {} if config.data.size is None else {"data.size": config.data.size}
    return with_overrides(preset(options.data), {**size, **changes}).data


def _reading(path: Path) -> str:
    if path.suffix == ".npz":
        return f'Read it: numpy.load("{path}")["features"]; also labels, ids, index, part and classes'
    return f'Read it: pandas.read_parquet("{path}"), or pyarrow.parquet.read_table; a row an image'
