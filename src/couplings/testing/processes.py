"""Processes that form a gloo group and run whatever function they are sent."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from ..basics import checks

PATIENCE = 300.0
"""Seconds until a process that does not answer counts as hanging: on a machine that is busy with other things too."""


class ProcessFailed(RuntimeError):
    """A function failed on one of several processes, or a process ended or hangs; the message has its traceback."""


class Processes:
    """A number of processes in one gloo group, started at the first `run` and kept until `close`.

    Each has one thread and starts from the seed 0 for every function. What is sent is pickled: functions and classes
    are those of modules that another process can import.

    Args:
        count: how many, one or more.
        timeout: seconds for which they wait for each other.

    Example:
        >>> from couplings.testing import Processes
        >>> with Processes(2) as both:
        ...     both.run(abs, -3)
        [3, 3]
    """

    def __init__(self, count: int, *, timeout: float = PATIENCE) -> None:
        checks.count("count", count)
        checks.require(count > 0, "count must be at least one process, got 0")
        self.count, self.timeout = count, timeout
        self._pipes: list[Connection] = []
        self._workers: list[Any] = []
        self._folder: Path | None = None

    def run(self, function: Callable[..., Any], *arguments: Any, patience: float = PATIENCE) -> list[Any]:
        """The results of a function, one a process, in rank order.

        Raises:
            ProcessFailed: what the function raised on one of them, with its traceback; or one of them has ended or
                does not answer within `patience` seconds. The processes then start anew at the next call.
        """
        task = _packed((function, arguments))
        if not self._workers:
            self._start()
        for pipe in self._pipes:
            pipe.send_bytes(task)
        return self._answers(patience)

    def close(self) -> None:
        """Stop them all."""
        for worker in self._workers:
            worker.kill()
            worker.join()
        for pipe in self._pipes:
            pipe.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._workers, self._pipes, self._folder = [], [], None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        fast = "forkserver" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if fast else "spawn")
        if fast:
            context.set_forkserver_preload(["torch", "torch.distributed", "torch._dynamo", "couplings._public"])
        self._folder = Path(tempfile.mkdtemp(prefix="couplings-processes-"))
        meeting = (self._folder / "meeting").as_uri()
        for rank in range(self.count):
            mine, theirs = context.Pipe()
            given = (rank, self.count, meeting, theirs, self.timeout)
            worker = context.Process(target=_serve, args=given, daemon=True)  # type: ignore[attr-defined]
            worker.start()
            theirs.close()
            self._pipes.append(mine)
            self._workers.append(worker)
        self._answers(PATIENCE)

    def _answers(self, patience: float) -> list[Any]:
        answers = []
        for rank, pipe in enumerate(self._pipes):
            if not pipe.poll(patience):
                self._fail(f"process {rank} of {self.count} hangs: no answer within {patience:g} s")
            try:
                answers.append(pickle.loads(pipe.recv_bytes()))
            except (EOFError, ConnectionError):
                self._fail(
                    f"process {rank} of {self.count} has ended: a script that starts processes does so under "
                    "`if __name__ == '__main__':`, because each of them reads the script"
                )
        for rank, (well, answer) in enumerate(answers):
            if not well:
                self._fail(f"process {rank} of {self.count}:\n{answer}")
        return [answer for _, answer in answers]

    def _fail(self, message: str) -> None:
        """Processes that may wait for messages which never come serve nobody else."""
        self.close()
        raise ProcessFailed(message)


def _packed(task: Any) -> bytes:
    try:
        return pickle.dumps(task)
    except Exception as error:
        raise ProcessFailed(
            f"what other processes are to run cannot be pickled ({error}): it must be made of functions and classes at "
            "the top of a module, not of lambdas or classes within a function"
        ) from error


def _serve(rank: int, world: int, meeting: str, pipe: Connection, timeout: float) -> None:
    torch.set_num_threads(1)
    patience = timedelta(seconds=timeout)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world, timeout=patience)
    pipe.send_bytes(pickle.dumps((True, os.getpid())))
    while True:
        try:
            task = pipe.recv_bytes()
        except EOFError:  # nobody is left to ask
            return
        torch.manual_seed(0)
        try:
            function, arguments = pickle.loads(task)
            answer = pickle.dumps((True, function(*arguments)))
        except BaseException:
            answer = pickle.dumps((False, traceback.format_exc()))
        pipe.send_bytes(answer)
