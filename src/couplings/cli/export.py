"""`couplings export` and `couplings embed`: their options."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from couplings import __version__
from couplings.system.display import say

if TYPE_CHECKING:
    from couplings.cli.settings import Setting

__all__ = ["EmbedOptions", "PartName", "embed", "export"]

Switch = Annotated[bool, Parameter(negative=())]


def export(
    run: Path,
    *,
    output: Path,
    with_projector: Switch = False,
    onnx: bool = True,
    overwrite: Switch = False,
) -> None:
    """Write the encoder of a run on its own: safetensors with a config, and ONNX checked with onnxruntime.

    Args:
        run: The folder that `couplings train` wrote.
        output: Folder of the export, new or empty.
        with_projector: Write the projector too.
        onnx: Write the ONNX file, which needs couplings[export].
        overwrite: Replace an export that lies in the output folder.
    """
    say(f"couplings {__version__}: exporting the encoder of {run}.")
    from couplings.cli.exporting import export_command

    export_command(run, output, with_projector=with_projector, onnx=onnx, overwrite=overwrite)


class PartName(Enum):
    """Parts of a data set by name."""

    TRAIN = "train"
    TEST = "test"
    ALL = "all"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """Which images `couplings embed` takes.

    Attributes:
        data: Another data set than the run's, by its name as for `couplings train`.
        data_folder: The folder of its files, or where the run's own are now.
        download: Fetch the data set's files into the data folder if they are missing.
        set_: Any setting of the images, as in `--set data.size=32`; repeatable.
        part: train, test or all.
    """

    data: str | None = None
    data_folder: Path | None = None
    download: Switch = False
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None
    part: PartName = PartName.ALL

    def settings(self) -> list[Setting]:
        """The settings that were given.

        Raises:
            ConfigError: a `--set` that is no setting.
        """
        from couplings.cli.settings import given

        flags = (
            ("--data-folder", "data.folder", self.data_folder),
            ("--download", "data.download", self.download or None),
        )
        return given(flags, self.set_)


_DEFAULTS = EmbedOptions()


def embed(run: Path, *, output: Path, images: EmbedOptions = _DEFAULTS, overwrite: Switch = False) -> None:
    """Write the features of a data set, by default the run's own, with labels, class names and places.

    Args:
        run: The folder that `couplings train` wrote.
        output: FILE.npz, or FILE.parquet, which needs couplings[parquet].
        images: Which images.
        overwrite: Replace the output file if it exists.
    """
    say(f"couplings {__version__}: embedding with {run}.")
    from couplings.cli.exporting import embed_command

    embed_command(run, output, images, overwrite=overwrite)
