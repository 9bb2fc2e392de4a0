"""`couplings theory`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from couplings import __version__
from couplings.cli.options.words import Whole
from couplings.system.display import say

theory = App(
    name="theory",
    help="Run the theory of contrastive losses: claims, numbers, figures; or answer a question about one model.",
)

Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
Numbers = Annotated[list[float], Parameter(consume_multiple=True, negative=())]
Wholes = Annotated[list[Whole], Parameter(consume_multiple=True, negative=())]


@theory.default
def claims(
    *misplaced: Annotated[str, Parameter(show=False)],
    output: Path = Path("runs/theory"),
    only: Names = None,
    workers: Whole | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> int:
    """Examine all claims and write one page with the figures; a few minutes on two cores. Exit code 1 if one fails.

    Args:
        misplaced: None: claims are named behind --only.
        output: Folder of the page, the numbers and the figures.
        only: Families or claims, FAMILY or FAMILY/NAME [default: all].
        workers: Claims at a time, each with one thread [default: the number of cores].
        list_: List the claims, and run nothing.
    """
    say(f"couplings {__version__}: {'claims' if list_ else 'examining claims'} of the theory.")
    from couplings.cli.examining import chosen, list_claims, theory_command

    some = chosen(misplaced, only)
    if list_:
        list_claims(some)
        return 0
    return theory_command(some, output, workers)


@theory.command
def latent_classes(
    *,
    prior: Numbers,
    k: Wholes,
    scale: float = 1.0,
    output: Path = Path("runs/latent-classes"),
) -> None:
    """How the best representation changes with the number of negatives, for your own class frequencies.

    Args:
        prior: Frequencies of the classes; they sum to one.
        k: Numbers of independent negatives a sample; several make a table.
        scale: Squared radius of the sphere, or 1 / temperature.
        output: Folder of the picture and the numbers.
    """
    say(f"couplings {__version__}: optimal representations of {len(prior)} classes.")
    from couplings.cli.answering import latent_classes_command

    latent_classes_command(prior, k, scale, output)
