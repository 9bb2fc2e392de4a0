"""Folders of runs that hold another run, that are damaged, or that are no runs."""

from __future__ import annotations

import numpy as np
from case import DONE, Group, Place, Prepare, maker
from filelock import FileLock
from material import RUN, arrays, cut, folder, gone, patched, raising, run, text
from stock import PIXELS, TINY

_case = maker(Group.FOLDER)
_TRAIN = f"train {TINY} --output {RUN}"
_NEWEST, _OLDER = f"{RUN}/checkpoint-000000003.safetensors", f"{RUN}/checkpoint-000000002.safetensors"
_WEIGHTS, _CONFIG, _MEASURED = f"{RUN}/weights.safetensors", f"{RUN}/config.json", f"{RUN}/evaluation.json"


def _flipped(path: str) -> Prepare:
    """One bit of a file's data."""

    def flip(place: Place) -> None:
        file = place.folder / path
        data = bytearray(file.read_bytes())
        data[-9] ^= 1
        file.write_bytes(data)

    return flip


def _of_a_later_step(place: Place) -> None:
    """A checkpoint whose head says another step."""
    file = place.folder / _NEWEST
    file.write_bytes(file.read_bytes().replace(rb"\"step\": \"3\"", rb"\"step\": \"9\""))


def _of_another(place: Place) -> None:
    """Weights of a wider encoder."""
    config = place.folder / _CONFIG
    config.write_text(config.read_text().replace('"width": 4', '"width": 5'))


def _locked(place: Place) -> None:
    """Process 4711 holds the folder."""
    lock = place.folder / RUN / ".lock"
    holder = FileLock(lock)
    holder.acquire()
    lock.write_text("4711")
    # The lock is held for as long as somebody holds this object.
    place.patch.setattr("couplings.train.folder.holder", holder, raising=False)


_OTHER_KEY = '{"config": {"stepz": 3}, "image_shape": [1, 8, 8]}\n'
_GONE_ON = f"{_NEWEST} {_OLDER} {_WEIGHTS} {RUN}/metrics.jsonl"

FOLDERS = (
    _case(
        "another run lies in the folder",
        f"{_TRAIN} --seed 3 --set loss.temperature=0.7",
        "run seed loss.params.temperature",
        "--overwrite",
        run("stopped"),
    ),
    _case("a finished run of other settings", f"{_TRAIN} --seed 3", "run seed", "--overwrite", run("measured")),
    _case(
        "the images have changed since",
        _TRAIN,
        "run images",
        "--overwrite",
        run("stopped"),
        arrays(images=255 - PIXELS),
    ),
    _case("a folder that is no run", _TRAIN, "run", "name another folder", arrays(), text(f"{RUN}/mine.txt")),
    _case("a file for a folder", _TRAIN, "run", "name another folder", arrays(), text(RUN)),
    _case(
        "`--overwrite` of a folder that is no run",
        f"{_TRAIN} --overwrite",
        "run",
        "name another folder",
        arrays(),
        text(f"{RUN}/mine.txt"),
    ),
    _case(
        "a folder below a file",
        f"train {TINY} --output mine.txt/run",
        "mine.txt",
        "name another folder",
        arrays(),
        text("mine.txt"),
    ),
    _case(
        "a folder that we may not write into",
        _TRAIN,
        "run",
        "that you may write into",
        arrays(),
        patched("os.mkdir", raising(PermissionError(13, "Permission denied", RUN))),
    ),
    _case("another process is writing the run", _TRAIN, "run 4711", "wait for it", run("stopped"), _locked),
    _case("`config.json` is cut short", _TRAIN, _CONFIG, "--overwrite", run("stopped"), text(_CONFIG, '{"config": {')),
    _case(
        "`config.json` is of something else",
        _TRAIN,
        "run config.json",
        "--overwrite",
        run("stopped"),
        text(_CONFIG, "[1, 2]\n"),
    ),
    _case(
        "`config.json` has an unknown key",
        _TRAIN,
        "config.json stepz 'steps'",
        "--overwrite",
        run("stopped"),
        text(_CONFIG, _OTHER_KEY),
    ),
    _case(
        "the newest checkpoint is cut short",
        _TRAIN,
        _NEWEST,
        "the one before it is used",
        run("stopped"),
        cut(_NEWEST),
        code=DONE,
        leaves=_GONE_ON,
    ),
    _case(
        "one bit of the newest checkpoint is wrong",
        _TRAIN,
        _NEWEST,
        "the one before it is used",
        run("stopped"),
        _flipped(_NEWEST),
        code=DONE,
        leaves=_GONE_ON,
    ),
    _case(
        "the newest checkpoint says another step",
        _TRAIN,
        _NEWEST,
        "the one before it is used",
        run("stopped"),
        _of_a_later_step,
        code=DONE,
        leaves=_GONE_ON,
    ),
    _case(
        "both checkpoints are cut short",
        _TRAIN,
        _OLDER,
        "anew",
        run("stopped"),
        cut(_NEWEST),
        cut(_OLDER),
        code=DONE,
        leaves=_GONE_ON,
    ),
    _case(
        "evaluating a run, both checkpoints of which are cut short",
        f"evaluate {RUN}",
        f"{_WEIGHTS} checkpoint",
        "the command that began the run",
        run("stopped"),
        cut(_NEWEST),
        cut(_OLDER),
    ),
    _case(
        "evaluating a run, `config.json` of which has an unknown key",
        f"evaluate {RUN}",
        f"{_CONFIG} stepz",
        "did you mean",
        run("finished"),
        text(_CONFIG, _OTHER_KEY),
    ),
    _case("evaluating a folder that is not there", f"evaluate {RUN}", RUN, "couplings train"),
    _case("evaluating a folder that is no run", f"evaluate {RUN}", RUN, "config.json", folder(RUN)),
    _case("evaluating a file", f"evaluate {RUN}", RUN, "config.json", text(RUN)),
    _case(
        "evaluating a run whose images have gone",
        f"evaluate {RUN}",
        "data.folder images.npz",
        "--data-folder",
        run("finished"),
        gone("images.npz"),
    ),
    _case(
        "the weights are cut short, and evaluated",
        f"evaluate {RUN}",
        _WEIGHTS,
        "--overwrite",
        run("finished"),
        cut(_WEIGHTS),
    ),
    _case(
        "the weights are cut short, and trained again", _TRAIN, _WEIGHTS, "--overwrite", run("finished"), cut(_WEIGHTS)
    ),
    _case(
        "one bit of the weights is wrong",
        f"evaluate {RUN}",
        _WEIGHTS,
        "--overwrite",
        run("finished"),
        _flipped(_WEIGHTS),
    ),
    _case("the weights are of another encoder", f"evaluate {RUN}", _WEIGHTS, "encoder", run("finished"), _of_another),
    _case(
        "`evaluation.json` is cut short",
        _TRAIN,
        _MEASURED,
        "measured again",
        run("measured"),
        cut(_MEASURED),
        code=DONE,
        measured=True,
        leaves=_MEASURED,
    ),
    _case(
        "`evaluation.json` is of something else",
        _TRAIN,
        _MEASURED,
        "measured again",
        run("measured"),
        text(_MEASURED, "{}\n"),
        code=DONE,
        measured=True,
        leaves=_MEASURED,
    ),
    _case(
        "`metrics.jsonl` is damaged",
        f"evaluate {RUN}",
        f"{RUN}/metrics.jsonl",
        "remove it",
        run("finished"),
        text(f"{RUN}/metrics.jsonl", "{\n{\n"),
    ),
    _case(
        "the images given now have another shape",
        f"evaluate {RUN}",
        "images (1, 9, 9) (1, 8, 8)",
        "resize them",
        run("finished"),
        arrays(images=np.pad(PIXELS, ((0, 0), (0, 1), (0, 1)))),
    ),
    _case(
        "a damaged run in a list of runs",
        "runs .",
        f"{RUN} {_CONFIG}",
        "is damaged:",
        run("finished"),
        text(_CONFIG, '{"config": {'),
        code=DONE,
    ),
)
