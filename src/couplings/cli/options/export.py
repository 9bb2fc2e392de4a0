"""`couplings export` and `couplings embed`: their options."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from couplings.cli.options.settings import Setting

__all__ = ["EmbedOptions", "PartName", "Switch"]

Switch = Annotated[bool, Parameter(negative=())]


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
        from couplings.cli.options.settings import given

        flags = (
            ("--data-folder", "data.folder", self.data_folder),
            ("--download", "data.download", self.download or None),
        )
        return given(flags, self.set_)
