"""Words on the command line that are unknown, contradict one another, or name what is not there."""

from __future__ import annotations

from case import Group, maker
from material import RUN, folder, run, text
from stock import IMAGES

_case = maker(Group.COMMAND)
_EMBED, _EXPORT = f"embed {RUN} --output features.npz", f"export {RUN} --output there"
_COMPARE = "compare --steps 2"

COMMANDS = (
    _case("an unknown command", "trian", "trian", '"train"'),
    _case("an unknown option", "train --los hcl", "--los", "--loss"),
    _case("an option without its value", "train --steps", "--steps", "argument"),
    _case("`--steps 1.5`", "train --steps 1.5", "--steps 1.5", "whole number"),
    _case("`--steps many`", "train --steps many", "--steps many", "whole number"),
    _case("`--set` without `=`", "train --set temperature", "--set temperature", "--set loss.temperature=0.2"),
    _case("`--set` without a key", "train --set =1", "--set =1", "key=value"),
    _case("the same `--set` twice", "train --set steps=3 --set steps=5", "steps=3 steps=5", "keep one"),
    _case("an option and a `--set` of the same key", "train --steps 3 --set steps=5", "--steps steps=5", "keep one"),
    _case(
        "a key and its long form",
        "train --set loss.reg=1 --set loss.params.reg=2",
        "loss.reg loss.params.reg=2",
        "keep one",
    ),
    _case("the data set as a setting", "train --set data.name=npz", "data.name", "--data npz"),
    _case("an unknown data set", "train --data digit", "data.name digit", "'digits'"),
    _case(
        "`--data` and a recipe",
        "train mine.yaml --data digits",
        "--data mine.yaml",
        "leave one of the two out",
        text("mine.yaml", "steps: 3\n"),
    ),
    _case(
        "a folder for a data set that reads no files",
        "train --data-folder .",
        "data.folder digits",
        "leave data.folder out",
    ),
    _case("two recipes", "train one.yaml two.yaml", "two.yaml", "couplings --help"),
    _case("an unknown viewer", "train --log tensorbord", "--log tensorbord", "tensorboard"),
    _case("`evaluate` without a run", "evaluate", "run", "requires an argument"),
    _case("an unknown loss to describe", "losses hcll", "hcll", "'hcl'"),
    _case("runs of a folder that is not there", "runs nowhere", "nowhere", "folder"),
    _case("an unknown order of runs", "runs --sort best", "--sort best", "knn"),
    _case("export without a folder", f"export {RUN}", "--output", "requires"),
    _case("export of a folder that is no run", _EXPORT, RUN, "'couplings train' wrote", folder(RUN)),
    _case(
        "export into a folder that holds something else",
        _EXPORT,
        "there",
        "name another folder",
        text("there/mine.txt"),
    ),
    _case("export into a file", _EXPORT, "there", "name another folder", run("finished"), text("there")),
    _case("embeddings of a folder that is no run", _EMBED, RUN, "'couplings train' wrote"),
    _case(
        "embeddings of a folder of images without its name",
        f"{_EMBED} --data images",
        "data.folder images",
        "--data-folder",
        run("finished"),
    ),
    _case(
        "embeddings in an unknown format",
        f"embed {RUN} --output features.csv",
        "features.csv",
        ".npz or .parquet",
        run("finished"),
    ),
    _case(
        "embeddings into a folder", f"embed {RUN} --output there.npz", "there.npz", "name a file", folder("there.npz")
    ),
    _case("embeddings over a file", _EMBED, "features.npz", "--overwrite", run("finished"), text("features.npz")),
    _case("embeddings of an unknown part", f"{_EMBED} --part valid", "--part valid", "train"),
    _case(
        "embeddings with a setting of the loss",
        f"{_EMBED} --set loss.reg=2",
        "loss.reg",
        "--set data.size",
        run("finished"),
    ),
    _case(
        "embeddings of images of another shape",
        f"{_EMBED} --data digits --set data.size=16",
        "images (1, 16, 16) (1, 8, 8)",
        "resize them",
        run("finished"),
    ),
    _case("nothing to compare", _COMPARE, "losses", "--vary batch_size=64"),
    _case("an unknown loss to compare", f"{_COMPARE} --losses infonce hclot", "losses hclot", "'hcl-ot'"),
    _case("a loss that comes twice", f"{_COMPARE} --losses hcl hcl", "losses hcl", "keep one"),
    _case(
        "a setting of one loss without a value", f"{_COMPARE} --losses hcl:beta", "losses hcl:beta", "hcl-ot:reg=0.3"
    ),
    _case("an unknown reference", f"{_COMPARE} --losses infonce hcl --reference hlc", "reference hlc", "'hcl'"),
    _case("no seed", f"{_COMPARE} --losses hcl --seeds 0", "seeds", "at least one"),
    _case("the same seed twice", f"{_COMPARE} --losses hcl --seeds 3 3", "seeds 3", "each seed once"),
    _case("no worker", f"{_COMPARE} --losses hcl --workers 0", "workers 0", "at least one"),
    _case("a key without values to vary", f"{_COMPARE} --vary batch_size", "vary batch_size", "KEY=VALUE"),
    _case("an unknown key to vary", f"{_COMPARE} --vary batchsize=2,4", "batchsize", "'batch_size'"),
    _case("the seed as a key to vary", f"{_COMPARE} --vary seed=1,2", "vary seed", "--seeds"),
    _case(
        "a page without a place for the tables",
        f"{_COMPARE} --losses hcl --docs page.md",
        "page.md",
        "add the lines",
        text("page.md"),
    ),
    _case(
        "a comparison into a file",
        f"{_COMPARE} --losses hcl --output mine.txt",
        "mine.txt",
        "name a folder",
        text("mine.txt"),
    ),
    _case(
        "a comparison where runs of other settings lie",
        f"{_COMPARE} --losses infonce --data npz={IMAGES} --seeds 1 --output there",
        "there/runs/images-infonce-seed0 steps",
        "--output",
        run("measured", "there/runs/images-infonce-seed0"),
    ),
    _case("a demo without seeds", "demo --seeds 0", "seeds 0", "at least one"),
    _case("an unknown bench", "bench loses", "loses", "did you mean"),
    _case("a bench on a device that is not here", "bench --device cuda:9", "--device cuda:9", "use cpu"),
    _case("a bench without time", "bench --budget 0", "--budget 0", "must be > 0"),
    _case("a bench without rounds", "bench --repeats 0", "--repeats 0", "must be >= 1"),
    _case("a bench for a page that is not there", "bench --docs page.md", "page.md", "--docs"),
    _case("a bench into a file", "bench --output mine.txt", "mine.txt", "name another folder", text("mine.txt")),
)
