"""Disks that are full, whatever is being written; the same command goes on once there is space."""

from __future__ import annotations

from case import DONE, Group, maker
from material import RUN, arrays, full, full_while_appending, full_while_writing, patched, raising, run
from stock import TINY, no_space

_case = maker(Group.DISK)
_TRAIN = f"train {TINY} --output {RUN}"
_FULL = "No space left on device; make room"
_BEGUN = f"{RUN} {RUN}/config.json {RUN}/metrics.jsonl"


def _saved(*steps: int) -> str:
    """What a run has written after checkpoints of some steps."""
    return " ".join([_BEGUN, *(f"{RUN}/checkpoint-{step:09d}.safetensors" for step in steps)])


DISKS = (
    _case(
        "full from the start",
        _TRAIN,
        f"{RUN}/config.json",
        _FULL,
        arrays(),
        patched("os.fsync", raising(no_space())),
        then=DONE,
    ),
    _case(
        "full at the folder itself",
        _TRAIN,
        RUN,
        _FULL,
        arrays(),
        patched("os.mkdir", raising(no_space(RUN))),
        then=DONE,
    ),
    _case(
        "full at the file that locks it",
        _TRAIN,
        f"{RUN}/.lock",
        _FULL,
        arrays(),
        full_while_writing(".lock"),
        then=DONE,
    ),
    _case("full at `config.json`", _TRAIN, f"{RUN}/config.json", _FULL, arrays(), full("config.json"), then=DONE),
    _case(
        "full at the first line of `metrics.jsonl`",
        _TRAIN,
        f"{RUN}/metrics.jsonl",
        _FULL,
        arrays(),
        full_while_appending("metrics.jsonl"),
        then=DONE,
    ),
    _case(
        "full at a later line of it",
        _TRAIN,
        f"{RUN}/metrics.jsonl",
        _FULL,
        arrays(),
        full_while_appending("metrics.jsonl", 3),
        leaves=_saved(2, 3),
        then=DONE,
    ),
    _case(
        "full at the first checkpoint",
        _TRAIN,
        f"{RUN}/checkpoint-000000001.safetensors",
        _FULL,
        arrays(),
        full("checkpoint-*"),
        then=DONE,
    ),
    _case(
        "full at the third checkpoint",
        _TRAIN,
        f"{RUN}/checkpoint-000000003.safetensors",
        _FULL,
        arrays(),
        full("checkpoint-*3.*"),
        leaves=_saved(1, 2),
        then=DONE,
    ),
    _case(
        "full at the weights",
        _TRAIN,
        f"{RUN}/weights.safetensors",
        _FULL,
        arrays(),
        full("weights.*"),
        leaves=_saved(2, 3),
        then=DONE,
    ),
    _case(
        "full at a picture",
        _TRAIN,
        f"{RUN}/curves.png",
        _FULL,
        arrays(),
        full("curves.png"),
        leaves=f"{_BEGUN} {RUN}/weights.safetensors",
        measured=True,
        then=DONE,
    ),
    _case(
        "full at `evaluation.json`",
        f"evaluate {RUN}",
        f"{RUN}/evaluation.json",
        _FULL,
        run("finished"),
        full("evaluation.json"),
        leaves=f"{RUN}/curves.png {RUN}/coupling.png",
        then=DONE,
    ),
    _case(
        "full while exporting weights",
        f"export {RUN} --output there --no-onnx",
        "there/model.safetensors",
        _FULL,
        run("finished"),
        full("model.safetensors"),
        then=DONE,
    ),
    _case(
        "full at the last file of an export",
        f"export {RUN} --output there --no-onnx",
        "there/README.md",
        _FULL,
        run("finished"),
        full("README.md"),
        then=DONE,
    ),
    _case(
        "full at embeddings",
        f"embed {RUN} --output deep/features.npz",
        "deep/features.npz",
        _FULL,
        run("finished"),
        full("features.npz"),
        then=DONE,
    ),
)
