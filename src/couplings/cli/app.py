"""The commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from couplings import __version__
from couplings.cli.options.compare import CompareOptions
from couplings.cli.options.export import EmbedOptions, Switch
from couplings.cli.options.inspect import InspectOptions
from couplings.cli.options.runs import SortBy
from couplings.cli.options.train import TrainOptions
from couplings.cli.options.words import Whole
from couplings.cli.theory import theory
from couplings.system.display import say

app = App(
    name="couplings",
    version=__version__,
    help="Contrastive representation learning in which every loss is a choice of coupling.",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
app.command(theory)


_TRAIN, _COMPARE, _EMBED, _INSPECT = TrainOptions(), CompareOptions(), EmbedOptions(), InspectOptions()


@app.command
def train(recipe: Path | None = None, /, options: TrainOptions = _TRAIN) -> None:
    """Train an encoder without labels, then measure it beside raw pixels and an untrained encoder.

    Every data set comes with settings of its own, a recipe names all of its own; the options change them. The same
    command continues a run that was stopped, by whatever, and ends with the same weights.

    Args:
        recipe: A YAML file of settings, such as those in recipes/, in place of --data.
        options: See below.
    """
    what = recipe or options.data or "digits"
    say(f"couplings {__version__}: training on {what}. Ctrl-C stops; the same command goes on.")
    from couplings.cli.work.train import train_command

    train_command(recipe, options)


@app.command
def evaluate(run: Path, *, data_folder: Path | None = None) -> None:
    """Measure a trained run again: kNN, linear probes, collapse, beside raw pixels and an untrained encoder.

    Args:
        run: The folder that `couplings train` wrote.
        data_folder: Where the images are now, if they have moved since.
    """
    say(f"couplings {__version__}: evaluating {run}.")
    from couplings.cli.work.evaluate import evaluate_command

    evaluate_command(run, data_folder)


@app.command
def losses(name: str | None = None, /) -> None:
    """List all losses with their settings, or describe one.

    Args:
        name: The loss to describe.
    """
    from couplings.cli.work.listing import describe_loss, list_losses

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
    from couplings.cli.work.compare import demo_command

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
    from couplings.cli.work.bench import bench_command, list_benches

    if list_:
        list_benches()
    else:
        bench_command(names, output, quick=quick, repeats=repeats, budget=budget, device=device, docs=docs)


@app.command
def runs(
    *folders: Path,
    sort: SortBy = SortBy.NAME,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """List the runs below some folders, and what they reached.

    Args:
        folders: Where to look, at any depth [default: runs].
        sort: name, when (newest first), or an accuracy, best first: knn, linear or few (the few-label probe).
        json: Print a JSON list for programs instead of the table.
    """
    from couplings.cli.work.runs import list_runs

    list_runs(folders, sort, as_json=json)


@app.command
def compare(*recipes: Path, options: CompareOptions = _COMPARE) -> int:
    """Train with several losses, settings, data sets and seeds, and compare what the encoders are worth.

    What is done already is left alone: the same command continues a comparison that was stopped.

    Args:
        recipes: YAML files of settings, such as those in recipes/, in place of --data; a table each.
        options: See there.
    """
    say(f"couplings {__version__}: comparing. Ctrl-C stops; the same command (without --overwrite) goes on.")
    from couplings.cli.work.compare import compare_command

    return compare_command(recipes, options)


@app.command
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
    from couplings.cli.work.export import export_command

    export_command(run, output, with_projector=with_projector, onnx=onnx, overwrite=overwrite)


@app.command
def embed(run: Path, *, output: Path, images: EmbedOptions = _EMBED, overwrite: Switch = False) -> None:
    """Write the features of a data set, by default the run's own, with labels, class names and places.

    Args:
        run: The folder that `couplings train` wrote.
        output: FILE.npz, or FILE.parquet, which needs couplings[parquet].
        images: Which images.
        overwrite: Replace the output file if it exists.
    """
    say(f"couplings {__version__}: embedding with {run}.")
    from couplings.cli.work.export import embed_command

    embed_command(run, output, images, overwrite=overwrite)


@app.command
def inspect(source: Path, *, output: Path = Path("runs/inspect"), options: InspectOptions = _INSPECT) -> None:
    """See what drives learning: duplicates, false negatives, hubs, failing positives, collapse; one HTML page.

    Args:
        source: FILE.npz or FILE.parquet of embeddings, the folder of a run, or a folder of images with --encoder.
        output: Folder of the page, the numbers and the tables; files of an earlier inspection are replaced, others
            never.
        options: See there.
    """
    say(f"couplings {__version__}: inspecting {source}.")
    from couplings.cli.work.inspect import inspect_command

    inspect_command(source, output, options)
