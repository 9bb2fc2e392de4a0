"""The commands and their options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from couplings import __version__
from couplings.cli.compare import compare
from couplings.cli.export import embed, export
from couplings.cli.inspect import inspect
from couplings.cli.options import Whole
from couplings.cli.runs import runs
from couplings.cli.theory import theory
from couplings.cli.viewers import Viewer
from couplings.system.display import say

if TYPE_CHECKING:
    from couplings.cli.settings import Setting

app = App(
    name="couplings",
    version=__version__,
    help="Contrastive representation learning in which every loss is a choice of coupling.",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
app.command(compare)
app.command(runs)
app.command(export)
app.command(embed)
app.command(inspect)
app.command(theory)


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
        from couplings.cli.settings import given

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


_DEFAULTS = TrainOptions()


@app.command
def train(recipe: Path | None = None, /, options: TrainOptions = _DEFAULTS) -> None:
    """Train an encoder without labels, then measure it beside raw pixels and an untrained encoder.

    Every data set comes with settings of its own, a recipe names all of its own; the options change them. The same
    command continues a run that was stopped, by whatever, and ends with the same weights.

    Args:
        recipe: A YAML file of settings, such as those in recipes/, in place of --data.
        options: See below.
    """
    what = recipe or options.data or "digits"
    say(f"couplings {__version__}: training on {what}. Ctrl-C stops; the same command goes on.")
    from couplings.cli.training import train_command

    train_command(recipe, options)


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
def losses(name: str | None = None, /) -> None:
    """List all losses with their settings, or describe one.

    Args:
        name: The loss to describe.
    """
    from couplings.cli.listing import describe_loss, list_losses

    if name is None:
        list_losses()
    else:
        describe_loss(name)


@app.command
def demo(*, output: Path = Path("runs/demo"), seeds: Whole = 2, steps: Whole | None = None) -> int:
    """Train with six losses on real images of digits and compare them; about two minutes on two cores.

    Args:
        output: Folder of the table, the pictures and the runs.
        seeds: Runs a loss.
        steps: Training steps a run [default: the recipe's].
    """
    say(f"couplings {__version__}: comparing six losses on handwritten digits.")
    from couplings.cli.comparing import demo_command

    return demo_command(output, seeds, steps)


@app.command
def bench(
    *names: str,
    output: Path = Path("runs/bench"),
    quick: Annotated[bool, Parameter(negative=())] = False,
    repeats: Whole | None = None,
    budget: float | None = None,
    device: str = "cpu",
    docs: Path | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> None:
    """Measure time and memory of the losses beside what others use, in turns; ten to fifteen minutes on two cores.

    Args:
        names: What to measure, BENCH or BENCH/WORK [default: all but those that --list marks].
        output: Folder of the numbers, the tables and the figures.
        quick: Small sizes and few rounds: about a minute.
        repeats: Rounds a row at most [default: 25].
        budget: Seconds a row is timed, after its first rounds [default: 5].
        device: cpu or cuda.
        docs: A page whose tables are replaced by those measured; its figures go into images beside it.
        list_: List all benches and their works, and measure nothing.
    """
    say(f"couplings {__version__}: {'benches' if list_ else 'measuring time and memory'}.")
    from couplings.cli.bench import bench_command, list_benches

    if list_:
        list_benches()
    else:
        bench_command(names, output, quick=quick, repeats=repeats, budget=budget, device=device, docs=docs)
