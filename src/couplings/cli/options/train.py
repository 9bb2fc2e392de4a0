"""Options of `couplings train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from couplings.cli.options.viewers import Viewer
from couplings.cli.options.words import Whole

if TYPE_CHECKING:
    from couplings.cli.options.settings import Setting


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `couplings train`; None leaves a setting to the data set's recipe.

    Attributes:
        data: digits (needs no files; the default), fashion-mnist, cifar10, cifar100, stl10, svhn, images (a folder
            of image files) or npz (a file of arrays).
        data_folder: The folder of the data set's files; for npz the file.
        download: Fetch the data set's files into the data folder if they are missing.
        loss: infonce, supcon, hcl-ot, gca-uot, alpha-cl-direct, cacr, ...; `couplings losses` lists all.
        output: The run's folder, new or empty [default: runs/DATA-LOSS-seedSEED].
        steps: Training steps.
        batch_size: Images a step; each is seen in all its views.
        micro_batch: Images encoded at a time, in two passes, where a batch does not fit [default: all].
        encoder: small-cnn, resnet18, resnet50, small-alexnet or timm:NAME.
        precision: 32-true, bf16-mixed, 16-mixed or 64-true.
        limit: Train on a seeded subset of that many images.
        exclude_pairs: A .csv or .parquet file of pairs of training images (columns a and b) that never repel each
            other.
        seed: Seed of weights, batches and views.
        devices: Processes that share each batch, one a device (or core); or start the command with torchrun.
        timeout: Minutes that a process waits for the others before it gives up and names the one that is silent.
        overwrite: Replace a run that lies in the output folder.
        log: Show the curves in tensorboard (files in the run's folder), wandb or trackio too; repeatable.
        set_: Any setting by its dotted key, as in `--set loss.reg=0.5 --set optimiser.lr=1e-3`; repeatable. A run's
            config.json lists all keys.
    """

    data: str | None = None
    data_folder: Path | None = None
    download: Annotated[bool, Parameter(negative=())] = False
    loss: str | None = None
    output: Path | None = None
    steps: Whole | None = None
    batch_size: Whole | None = None
    micro_batch: Whole | None = None
    encoder: str | None = None
    precision: str | None = None
    limit: Whole | None = None
    exclude_pairs: Path | None = None
    seed: Whole | None = None
    devices: Whole = 1
    timeout: float = 10.0
    overwrite: Annotated[bool, Parameter(negative=())] = False
    log: Annotated[list[Viewer] | None, Parameter(negative=())] = None
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None

    def settings(self) -> list[Setting]:
        """The settings that were given.

        Raises:
            ConfigError: a `--set` that is no setting.
        """
        from couplings.cli.options.settings import given

        flags = (
            ("--data-folder", "data.folder", self.data_folder),
            ("--download", "data.download", self.download or None),
            ("--limit", "data.limit", self.limit),
            ("--exclude-pairs", "pairs.exclude", self.exclude_pairs),
            ("--steps", "steps", self.steps),
            ("--batch-size", "batch_size", self.batch_size),
            ("--micro-batch", "micro_batch", self.micro_batch),
            ("--encoder", "encoder.name", self.encoder),
            ("--precision", "precision", self.precision),
            ("--seed", "seed", self.seed),
            ("--loss", "loss.name", self.loss),
        )
        return given(flags, self.set_)
