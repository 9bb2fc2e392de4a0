"""Settings that are unknown, out of range, or that contradict one another; recipes that cannot be read."""

from __future__ import annotations

import shlex

from case import Case, Group, maker
from material import arrays, folder, text
from stock import TINY

_case = maker(Group.SETTINGS)
_DIVERGING = f"train {TINY} --set optimiser.lr=1e30".replace("checkpoint_every=1", "checkpoint_every=4")


def _set(words: str, names: str, remedy: str) -> Case:
    """Wrong settings, which are their own description."""
    keys = " ".join(f"--set {shlex.quote(word)}" for word in words.split("; "))
    return _case(f"`{keys}`", f"train {keys}", names, remedy)


def _recipe(what: str, content: str, names: str, remedy: str) -> Case:
    """A recipe of some text."""
    return _case(f"a recipe with {what}", "train mine.yaml", f"mine.yaml {names}", remedy, text("mine.yaml", content))


_BOMB = "\n".join(
    ["a: &a0 x", *(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 7))]
)

SETTINGS = (
    _set("optimizer.lr=1", "optimizer", "'optimiser'"),
    _set("views.crops=[0.2,1]", "views.crops", "'crop'"),
    _set("views.local.sizes=4", "views.local.size sizes", "required"),
    _set("loss.temprature=0.2", "loss.temprature", "'temperature'"),
    _set("encoder.widht=8", "encoder.widht", "'width'"),
    _set("loss.temperature=-1", "loss temperature -1", "must be > 0"),
    _set("loss.temperature=warm", "loss temperature warm", "must be a number"),
    _set("loss=hcl; loss.beta=-1", "loss beta -1", "must be"),
    _set("loss=hcl-ot; loss.reg=0", "loss reg 0", "must be > 0"),
    _set("loss=gca-uot; loss.q=2", "loss q 2", "must be"),
    _set("loss=3", "loss 3", "loss.name"),
    _set("views=3", "views 3", "views.count"),
    _set("loss=gca-ince; loss.target={within: 1}", "loss.target.across", "missing"),
    _set("steps=1.5", "steps 1.5", "integer"),
    _set("steps=many", "steps many", "integer"),
    _set("steps=0", "steps 0", "greater than 0"),
    _set("seed=99999999999999999999", "seed 99999999999999999999", "less than or equal to 9223372036854775807"),
    _set("seed=-1", "seed -1", "greater than or equal to 0"),
    _set("batch_size=1", "batch_size 1", "take 2 or more"),
    _set("micro_batch=256", "micro_batch 256 128", "lower it"),
    _set("precision=fp16", "precision fp16", "'16-mixed'"),
    _set("data.limit=0", "data.limit 0", "greater than 0"),
    _set("data.size=8.5", "data.size 8.5", "integer"),
    _set("data.domains=true", "data.domains digits", "leave data.domains out"),
    _set("data.test_fraction=0.3", "data.test_fraction digits", "leave it out"),
    _set("data.imbalance=steep", "data.imbalance steep", "'linear' or 'exponential'"),
    _set("views.crop=[1,0.5]", "views.crop", "(low, high)"),
    _set("views.crop=[0.2,2]", "views.crop 2", "less than or equal to 1"),
    _set("views.crop=0.2", "views.crop 0.2", "valid tuple"),
    _set("views.count=1", "views.count 1", "greater than or equal to 2"),
    _set("views.flip=1.5", "views.flip 1.5", "less than or equal to 1"),
    _set("views.hue=0.7", "views.hue 0.7", "less than or equal to 0.5"),
    _set("views.local.count=4", "views.local.size", "required"),
    _set("pairs.positives=same", "pairs.positives same", "'views' or 'class'"),
    _set("pairs.domains=true", "pairs.domains infonce", "target=Domains"),
    _set("pairs.pool=64", "pairs.pool", "pairs.negatives"),
    _set("pairs.negatives=8; pairs.labels=true", "pairs.labels pairs.negatives", "drop one"),
    _set("pairs.negatives=8; momentum.queue=64", "momentum.queue pairs.negatives", "drop one"),
    _set("momentum.decay=1.5", "momentum.decay 1.5", "less than or equal to 1"),
    _set("optimiser.name=rmsprop", "optimiser.name rmsprop", "'sgd'"),
    _set("optimiser.lr=0", "optimiser.lr 0", "greater than 0"),
    _set("optimiser.lr=nan", "optimiser.lr nan", "finite"),
    _set("optimiser.momentum=0.9", "optimiser.momentum adamw", "optimiser.name=sgd"),
    _set("optimiser.schedule=step", "optimiser.milestones", "optimiser.milestones=[0.6, 0.8]"),
    _set("optimiser.factor=0.1", "optimiser.factor cosine", "optimiser.schedule=step"),
    _set("projector.dim=0", "projector.dim 0", "greater than 0"),
    _set("evaluation.draws=0", "evaluation.draws 0", "greater than 0"),
    _set("encoder.width=0", "encoder.width 0", "at least 1"),
    _case("an unknown loss", "train --loss hclot", "loss.name hclot", "'hcl-ot'"),
    _case("an unknown encoder", "train --encoder resnet81", "encoder.name resnet81", "'resnet18'"),
    _case("an unknown model of timm", "train --encoder timm:resnet81", "encoder.name resnet81", "did you mean"),
    _case(
        "an encoder that does not take images of this size",
        "train --encoder timm:vit_tiny_patch16_224",
        "encoder.name vit_tiny_patch16_224 8",
        "data.size",
    ),
    _case("a learning rate that makes the training diverge", _DIVERGING, "diverged", "lower optimiser.lr", arrays()),
    _case("a recipe that is not there", "train mine.yaml", "mine.yaml", "no recipe"),
    _case("a folder for a recipe", "train mine.yaml", "mine.yaml", "no recipe", folder("mine.yaml")),
    _recipe("broken YAML", "steps: [3\n", "line 2", "correct it"),
    _recipe("a list", "- steps: 3\n", "mapping", "'steps: 100'"),
    _recipe("nothing in it", "", "mapping", "'steps: 100'"),
    _recipe("an unknown key", "views: {crops: [0.2, 1]}\n", "views.crops", "'crop'"),
    _recipe("a number for a group", "views: 3\n", "views 3", "views.count"),
    _recipe("a list for a group", "optimiser: [1, 2]\n", "optimiser", "optimiser.name"),
    _recipe("a group for a number", "steps: {a: 3}\n", "steps", "integer"),
    _recipe("nothing for a group", "optimiser:\nsteps: 3\n", "optimiser None", "valid dictionary"),
    _recipe("a key that comes twice", "steps: 3\nsteps: 5\n", "line 2 'steps' twice", "correct it"),
    _recipe("a key that comes dotted and nested", "views.flip: 0\nviews: {flip: 1}\n", "views.flip", "keep one"),
    _recipe("a Python object, which is never made", "steps: !!python/object:os.system {}\n", "line 1", "correct it"),
    _recipe("a word for a number of the loss", "loss: {name: hcl, beta: much}\n", "loss beta much", "must be a number"),
    _recipe("an `about` that is no text", "about: {paper: GCA}\n", "about", "text is wanted"),
    _recipe("a list of lists of lists", f"steps: {'[' * 100}\n", "line 1", "20 levels"),
    _recipe("aliases that stand for 9^6 values", _BOMB, "line 5", "more than 5000 values"),
    _recipe("a whole number that is none", "steps: !!int abc\n", "line 1 'abc'", "correct it"),
    _case("a device for a recipe", "train /dev/zero", "/dev/zero", "no regular file"),
    _recipe("an unknown data set", "data: cifar\n", "data.name cifar", "'cifar10'"),
)
