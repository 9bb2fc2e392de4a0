"""The three commands and their options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from couplings import __version__
from couplings.display import say

app = App(
    name="couplings",
    version=__version__,
    help="Contrastive representation learning in which every loss is a choice of coupling.",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `couplings train`; None leaves a setting to the data set's recipe.

    Attributes:
        data: digits (needs no files), fashion-mnist, cifar10, cifar100, stl10, svhn, images (a folder of image
            files) or npz (a file of arrays).
        data_folder: The folder of the data set's files; for npz the file.
        download: Fetch the data set's files into the data folder if they are missing.
        loss: infonce, hcl, hcl-ot, gca-ince, alpha-cl-direct or cacr.
        output: The run's folder, new or empty [default: runs/DATA-LOSS-seedSEED].
        steps: Training steps.
        batch_size: Images a step; each is seen in all its views.
        encoder: small-cnn, resnet18, resnet50, small-alexnet or timm:NAME.
        precision: 32-true, bf16-mixed, 16-mixed or 64-true.
        limit: Train on a seeded subset of that many images.
        seed: Seed of weights, batches and views.
        overwrite: Replace a run that lies in the output folder.
        set_: Any setting by its dotted key, as in `--set loss.reg=0.5 --set optimiser.lr=1e-3`; repeatable. A run's
            config.json lists all keys.
    """

    data: str = "digits"
    data_folder: Path | None = None
    download: Annotated[bool, Parameter(negative=())] = False
    loss: str | None = None
    output: Path | None = None
    steps: int | None = None
    batch_size: int | None = None
    encoder: str | None = None
    precision: str | None = None
    limit: int | None = None
    seed: int | None = None
    overwrite: Annotated[bool, Parameter(negative=())] = False
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None

    def settings(self) -> dict[str, Any]:
        """The settings that were given, by their dotted keys."""
        flags = {
            "data.folder": self.data_folder,
            "data.download": self.download or None,
            "data.limit": self.limit,
            "loss.name": self.loss,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "encoder.name": self.encoder,
            "precision": self.precision,
            "seed": self.seed,
        }
        return {key: value for key, value in flags.items() if value is not None} | _settings(self.set_ or [])


_DEFAULTS = TrainOptions()


@app.command
def train(options: TrainOptions = _DEFAULTS) -> None:
    """Train an encoder without labels, then measure it beside raw pixels and an untrained encoder.

    Every data set comes with a recipe; the options change it.
    """
    say(f"couplings {__version__}: training on {options.data}. Ctrl-C stops and keeps the weights so far.")
    from couplings.cli.commands import train_command

    train_command(options.data, options.settings(), options.output, options.overwrite)


def _settings(words: list[str]) -> dict[str, Any]:
    """``key=value`` words; a value is read as YAML (0.5, true, [0.4, 1])."""
    from couplings.train.errors import ConfigError

    settings: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"--set: '{word}' came; write key=value, as in --set loss.temperature=0.2")
        settings[key] = _value(value)
    return settings


def _value(text: str) -> Any:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    # YAML 1.1 takes 1e-3 for a word.
    return _number(value) if isinstance(value, str) else value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@app.command
def evaluate(run: Path, *, data_folder: Path | None = None) -> None:
    """Measure a trained run again: kNN, linear probes, collapse, beside raw pixels and an untrained encoder.

    Args:
        run: The folder that `couplings train` wrote.
        data_folder: Where the images are now, if they have moved since.
    """
    say(f"couplings {__version__}: evaluating {run}.")
    from couplings.cli.commands import evaluate_command

    evaluate_command(run, data_folder)


@app.command
def demo(*, output: Path = Path("runs/demo"), seeds: int = 2, steps: int | None = None) -> None:
    """Train with all six losses on real images of digits and compare them; about two minutes on two cores.

    Args:
        output: Folder of the table, the pictures and the runs.
        seeds: Runs a loss.
        steps: Training steps a run [default: the recipe's].
    """
    say(f"couplings {__version__}: comparing six losses on handwritten digits.")
    from couplings.cli.commands import demo_command

    demo_command(output, seeds, steps)
