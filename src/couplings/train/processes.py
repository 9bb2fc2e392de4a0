"""One run on several devices: who computes what, and who writes."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch.distributed as dist
from torch import nn

from couplings.system.rank import number_set
from couplings.train.errors import ConfigError
from couplings.train.run import fastest_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["TIMEOUT", "check_devices", "cores", "hidden_statistics", "opened_fabric", "part_of", "synchronised"]

TIMEOUT = 10.0
"""Minutes: the slowest step, checkpoint or loading of images that a process may leave the others waiting for."""
_LONGEST, _GRACE_SECONDS = 10_000, 5
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def opened_fabric(precision: str, devices: int, timeout: float = TIMEOUT) -> Iterator[Fabric]:
    """Fabric on that many devices of this machine, or on those that torchrun has started processes for.

    With more than one and without torchrun the command that is running is started again for each further device.

    Args:
        precision: of Fabric.
        devices: of this machine.
        timeout: minutes that a process waits for the others.

    Raises:
        ConfigError: fewer devices are here, they do not compute in this precision, or a process has stopped, or has
            not answered in time.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.strategies import DDPStrategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    started = _started_by_torchrun()
    here, nodes = started or (devices, 1)
    check_devices(precision, devices)
    if not 0 < timeout <= _LONGEST:
        raise ConfigError(f"timeout: {timeout} minutes came; take more than 0, at most {_LONGEST}")
    strategy = DDPStrategy(timeout=timedelta(minutes=timeout)) if here * nodes > 1 else "auto"
    # What else starts processes (Slurm, MPI) is not asked: a training in one of its shells is one of its own.
    alone = [] if started else [LightningEnvironment()]
    try:
        fabric = Fabric(devices=here, num_nodes=nodes, precision=precision, strategy=strategy, plugins=alone)
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"devices: {here} cannot be used here ({' '.join(str(error).split())}); take fewer") from None
    # What it says about itself is of no use to those who asked for a training.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric.launch()
    try:
        yield fabric
    except RuntimeError as error:
        if fabric.world_size == 1 or not _lost_a_peer(error):
            raise
        raise ConfigError(_lost(fabric, error, timeout)) from None
    finally:
        # What comes after training happens in one process, and its losses must not wait for others.
        if here * nodes > 1 and dist.is_initialized():
            dist.destroy_process_group()


def check_devices(precision: str, devices: int) -> None:
    """Refuse what this machine cannot do; the number of processes is torchrun's choice where it started them.

    Raises:
        ConfigError: says what it can.
    """
    chosen = _started_by_torchrun() is None
    if chosen and devices < 1:
        raise ConfigError(f"devices: {devices} came; take 1 or more")
    if fastest_device().type != "cpu":
        return
    if precision == "16-mixed":
        raise ConfigError("precision: '16-mixed' wants a GPU, and none is here; take 'bf16-mixed' or '32-true'")
    if chosen and devices > cores():
        raise ConfigError(
            f"devices: {devices} processes would wait for each other on {cores()} cores; take {cores()} or fewer"
            f" (--devices {cores()}), or start them with torchrun"
        )


def _lost_a_peer(error: RuntimeError) -> bool:
    """Whether a message went to, or was awaited from, a process that is gone."""
    return isinstance(error, dist.DistError) or "peer" in str(error) or "gloo" in str(error)


def _lost(fabric: Fabric, error: RuntimeError, timeout: float) -> str:
    """What is known of the process that is gone."""
    if "Timed out" not in str(error):
        return "another process of this run has stopped; what it said says why, and the same command goes on"
    for child in getattr(fabric.strategy.launcher, "procs", ()):
        # One that is held by a signal does not end by itself.
        atexit.register(child.kill)
    silent = _silent(fabric)
    who = f"process {', '.join(map(str, silent))} of {fabric.world_size}" if silent else "another process of this run"
    return (
        f"{who} (counted from 0) has not answered for {timeout:g} minutes: look whether it is held, swapped out, or its"
        " machine gone; the same command goes on from the last checkpoint. If it is slow, --timeout waits longer"
    )


def _silent(fabric: Fabric) -> list[int]:
    """The processes that do not say that they are waiting, too."""
    store, ranks = dist.distributed_c10d._get_default_store(), range(fabric.world_size)
    try:
        store.set_timeout(timedelta(seconds=_GRACE_SECONDS))
        store.set(f"waits/{fabric.global_rank}", "")
        time.sleep(_GRACE_SECONDS)
        return [rank for rank in ranks if rank != fabric.global_rank and not store.check([f"waits/{rank}"])]
    except RuntimeError:
        # The store lies in process 0.
        return [0]


def cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _started_by_torchrun() -> tuple[int, int] | None:
    """Processes of a machine, and machines."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    here, whole, *_ = (number_set(name) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE", "LOCAL_RANK", "RANK"))
    if here < 1 or whole < here:
        raise ConfigError(f"WORLD_SIZE is {whole}, LOCAL_WORLD_SIZE {here} in the environment; start with torchrun")
    return here, whole // here


def part_of(n: int, fabric: Fabric) -> slice:
    """The samples of this process, of n; as equal as can be."""
    rank, several = fabric.global_rank, fabric.world_size
    return slice(n * rank // several, n * (rank + 1) // several)


def synchronised(model: nn.Module, fabric: Fabric) -> nn.Module:
    """The model with batch statistics taken over all processes, where torch can: on accelerators."""
    if fabric.world_size == 1 or fabric.device.type == "cpu":
        return model
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def hidden_statistics(model: nn.Module, fabric: Fabric) -> str | None:
    """A warning if each process has batch statistics of its own."""
    norms = [part for part in model.modules() if isinstance(part, _NORMS)]
    if fabric.world_size == 1 or not norms:
        return None
    return (
        f"The network holds {len(norms)} batch norms, which torch synchronises on GPUs only: each of the"
        f" {fabric.world_size} processes takes the statistics of its own samples, so weights differ from those of one"
        " process. Group or layer norm (timm:NAME) does not depend on it."
    )
