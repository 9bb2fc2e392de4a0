"""`couplings compare`: its options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from couplings.cli.options.words import Whole

if TYPE_CHECKING:
    from couplings.cli.options.settings import Setting

Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `couplings compare`.

    Attributes:
        losses: Their names, or all; hcl-ot:reg=0.3,beta=2 gives one its own settings. --vary needs none.
        vary: KEY=VALUE,VALUE,... makes every loss once with each value; repeatable, for all combinations.
        data: Data sets, as for `couplings train`; NAME=FOLDER says where the files of one lie.
        data_folder: The folder of the files, for all data sets that read files.
        seeds: How many, from 0; or the seeds themselves, two or more [default: 3].
        reference: The variant that the others are compared with [default: the first].
        supervised: Add the same encoder taught the labels.
        steps: Training steps of each run.
        batch_size: Images a step; each is seen in all its views.
        limit: Train on a seeded subset of that many images.
        set_: Any setting by its dotted key, for all runs; repeatable.
        output: Folder of the tables, the pictures and the runs.
        workers: Runs at a time, each with one thread [default: the number of cores].
        overwrite: Make those runs anew that are done already.
        docs: A page in which the block of this comparison is replaced, `<!-- compare: NAME -->` to `<!-- end -->`, with
            the name of the output folder; its figures go into images beside it.
    """

    losses: Words = None
    vary: Annotated[list[str] | None, Parameter(negative=())] = None
    data: Words = None
    data_folder: Path | None = None
    seeds: Annotated[list[Whole] | None, Parameter(consume_multiple=True, negative=())] = None
    reference: str | None = None
    supervised: Annotated[bool, Parameter(negative=())] = False
    steps: Whole | None = None
    batch_size: Whole | None = None
    limit: Whole | None = None
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None
    output: Path = Path("runs/compare")
    workers: Whole | None = None
    overwrite: Annotated[bool, Parameter(negative=())] = False
    docs: Path | None = None

    def settings(self) -> list[Setting]:
        """The settings that all runs share.

        Raises:
            ConfigError: a `--set` that is no setting.
        """
        from couplings.cli.options.settings import given

        flags = (
            ("--limit", "data.limit", self.limit),
            ("--steps", "steps", self.steps),
            ("--batch-size", "batch_size", self.batch_size),
        )
        return given(flags, self.set_)
