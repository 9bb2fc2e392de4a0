"""Devices that are not here, precisions they do not have, libraries that are not installed."""

from __future__ import annotations

import torch
from case import DONE, Group, maker
from material import RUN, arrays, missing, patched, raising, run
from stock import TINY

_case = maker(Group.DEVICE)
_TRAIN = f"train {TINY} --output {RUN}"
_TWO_CORES = patched("couplings.train.processes.cores", lambda: 2)

_STEP = "couplings.train.trainer.Trainer.step"
_ON_A_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words.")
_ON_A_PROCESSOR = RuntimeError(
    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
)

DEVICES = (
    _case(
        "no memory left on a GPU",
        _TRAIN,
        "out of memory 2.00 GiB",
        "--micro-batch",
        arrays(),
        patched(_STEP, raising(_ON_A_GPU)),
        then=DONE,
    ),
    _case(
        "no memory left on a processor",
        _TRAIN,
        "out of memory 9 bytes",
        "--micro-batch",
        arrays(),
        patched(_STEP, raising(_ON_A_PROCESSOR)),
        then=DONE,
    ),
    _case("`--devices 0`", f"{_TRAIN} --devices 0", "devices 0", "1 or more", arrays()),
    _case("`--devices -1`", f"{_TRAIN} --devices -1", "devices -1", "1 or more", arrays()),
    _case("64 processes on two cores", f"{_TRAIN} --devices 64", "devices 64", "--devices 2", arrays(), _TWO_CORES),
    _case(
        "half precision on a processor", f"{_TRAIN} --precision 16-mixed", "precision 16-mixed", "bf16-mixed", arrays()
    ),
    _case("wandb is not installed", f"{_TRAIN} --log wandb", "wandb", "pip install wandb", arrays(), missing("wandb")),
    _case(
        "trackio is not installed",
        f"{_TRAIN} --log trackio",
        "trackio",
        "pip install trackio",
        arrays(),
        missing("trackio"),
    ),
    _case(
        "tensorboard is not installed",
        f"{_TRAIN} --log tensorboard",
        "tensorboard",
        "'couplings[tensorboard]'",
        arrays(),
        missing("tensorboard"),
    ),
    _case(
        "pyarrow is not installed",
        f"embed {RUN} --output features.parquet",
        "pyarrow",
        "'couplings[parquet]'",
        run("finished"),
        missing("pyarrow", "pyarrow.parquet"),
    ),
    _case(
        "onnxruntime is not installed",
        f"export {RUN} --output there",
        "onnxruntime",
        "'couplings[export]'",
        run("finished"),
        missing("onnxruntime"),
    ),
    _case(
        "timm is not installed",
        f"{_TRAIN} --encoder timm:resnet10t".replace("--set encoder.width=4 ", ""),
        "timm",
        "'couplings[train",
        arrays(),
        missing("timm"),
    ),
)
