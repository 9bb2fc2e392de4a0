"""Processes that stay: started once for a number of them, each runs whatever function it is sent."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = 300
"""Seconds until a process that does not answer counts as hanging: on a machine that is busy with other things too."""


def _serve(rank: int, world: int, meeting: str, pipe: Connection, timeout: timedelta) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world, timeout=timeout)
    pipe.send((True, os.getpid()))
    while (task := pipe.recv()) is not None:
        function, args = task
        torch.manual_seed(0)
        try:
            pipe.send((True, function(*args)))
        except BaseException:
            pipe.send((False, traceback.format_exc()))


@dataclass
class Pool:
    """Some gloo processes, and the seconds for which they wait for each other."""

    world: int
    folder: Path
    timeout: float = PATIENCE

    def __post_init__(self) -> None:
        self._started = 0
        self._start()

    def _start(self) -> None:
        self._started += 1
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch.distributed", "couplings._public", "torch._dynamo"])
        self._pipes, self._workers = [], []
        for rank in range(self.world):
            mine, theirs = context.Pipe()
            meeting = str(self.folder / f"meeting-{self.world}-{self._started}")
            timeout = timedelta(seconds=self.timeout)
            worker = context.Process(target=_serve, args=(rank, self.world, meeting, theirs, timeout), daemon=True)
            worker.start()
            self._pipes.append(mine)
            self._workers.append(worker)
        self._answers(PATIENCE)

    def run(self, function: Callable[..., Any], *args: Any, patience: float = PATIENCE) -> list[Any]:
        """The function's result on each process."""
        for pipe in self._pipes:
            pipe.send((function, args))
        return self._answers(patience)

    def _answers(self, patience: float) -> list[Any]:
        answers = []
        for rank, pipe in enumerate(self._pipes):
            if not pipe.poll(patience):
                self._fail(f"process {rank} of {self.world} hangs")
            answers.append(pipe.recv())
        for rank, (well, answer) in enumerate(answers):
            if not well:
                self._fail(f"process {rank} of {self.world}:\n{answer}")
        return [answer for _, answer in answers]

    def _fail(self, message: str) -> None:
        """Processes that may wait for messages which never come serve no other test."""
        self.close()
        self._start()
        raise AssertionError(message)

    def close(self) -> None:
        """Stop them all."""
        for worker in self._workers:
            worker.kill()
            worker.join()
