"""Pieces of work shared out to threads: sums do not depend on who does what, and callers notice nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from pair_functions import KNOWN, WIDE
from test_pair_sums import Sums, _gradients, _mask
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from couplings import InfoNCE
from couplings.basics.sizes import limited
from couplings.engine.threads import Turn, by_threads, threads_for

HERE = torch.zeros(())
"""A tensor on the CPU."""


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """That many, for work of any size, on tiles of 200 rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with limited(shared=0, tile=200):
            yield
    finally:
        torch.set_num_threads(before)


def _each(count: int, work: Callable[[int, Turn], None], same: bool = True) -> None:
    """`count` pieces that add to one sum, or to one each."""
    by_threads(range(count), lambda piece: [0 if same else piece], lambda: work, threads_for(1, HERE))


def _everything(sums: Sums, seed: int) -> list[Tensor]:
    """Values and gradients."""
    torch.manual_seed(seed)
    mask, given = _mask(sums.mask, (sums.n, sums.m), sums.triangle), sums.inputs(torch.float32)
    given = {name: (x.detach() / 4).requires_grad_() for name, x in given.items()}
    values = sums.by_tiles(mask, given)
    moving = {name: x for name, x in given.items() if not name.startswith("leaf")}
    return [*values, *_gradients(values, [torch.randn_like(v) for v in values], moving)]


@pytest.mark.parametrize("mask", ["listed", "compared"])
@pytest.mark.parametrize("name", ["partly constant", "moment", "softplus", "by autograd", "wide"])
def test_sums_are_the_same_bits_by_any_number_of_threads(name: str, mask: str) -> None:
    """On tiles of 64 x 64 and more torch would split some operations over the threads that it has here."""
    known = WIDE["moment"] if name == "wide" else KNOWN[name]
    for sums in (
        Sums(known, n=450, m=300, side=100, mask=mask, columns=True, offsets=True),
        Sums(known, n=450, m=450, side=100, mask="compared", triangle=True, weights=True),
    ):
        found = []
        for count in (1, 2, 2, 3):
            with threads(count):
                found.append(_everything(sums, seed=3))
        assert found[0][0].abs().max() > 0
        for other in found[1:]:
            assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_a_loss_repeats_and_depends_on_the_number_of_threads_by_rounding_alone() -> None:
    """Beside tiles torch may split a sum of 1400 terms, which are positive: each order is within 1400 eps."""
    views, found = torch.randn(2, 700, 16), []
    for count in (1, 2, 2):
        with threads(count):
            leaves = views.clone().requires_grad_()
            loss = InfoNCE()(*leaves)
            (gradient,) = torch.autograd.grad(loss, leaves)
            found.append((loss.detach(), gradient))
    eps = torch.finfo(torch.float32).eps
    for one, two, again in zip(*found, strict=True):
        assert torch.equal(two, again)
        assert (one - two).abs().max() <= 1400 * eps * one.abs().max()


def test_pieces_run_side_by_side_and_add_in_their_order() -> None:
    """The first piece computes until the second has, so two threads are at work; it adds first nevertheless."""
    second, added = threading.Event(), []

    def work(piece: int, turn: Turn) -> None:
        if piece == 0:
            assert second.wait(60)
        elif piece == 1:
            second.set()
        with turn:
            added.append(piece)

    with threads(2):
        _each(50, work)
    assert added == list(range(50))


def test_pieces_that_add_to_other_sums_need_not_wait() -> None:
    """The second adds while the first computes."""
    second = threading.Event()

    def work(piece: int, turn: Turn) -> None:
        if piece == 0:
            assert second.wait(60)
        with turn:
            if piece == 1:
                second.set()

    with threads(2):
        _each(4, work, same=False)
    assert second.is_set()


def test_a_thread_computes_alone_and_no_other_is_told() -> None:
    """Neither the calling thread nor one that is started later."""
    seen: list[tuple[str, int]] = []

    def work(piece: int, turn: Turn) -> None:
        seen.append((threading.current_thread().name, torch.get_num_threads()))

    def later() -> int:
        counts: list[int] = []
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return counts[0]

    with threads(3):
        before = later()
        _each(20, work)
        assert torch.get_num_threads() == 3
        assert later() == before
    assert len(seen) == 20
    assert {count for _, count in seen} == {1}
    assert all(name.startswith("couplings") for name, _ in seen)


def test_an_error_reaches_the_caller_and_ends_the_rest() -> None:
    begun: list[int] = []

    def work(piece: int, turn: Turn) -> None:
        begun.append(piece)
        if piece == 5:
            raise ZeroDivisionError("piece 5")
        if piece > 5:
            stopped.wait(1)
        with turn:
            pass

    for count in (1, 2):
        begun.clear()
        stopped = threading.Event()
        with threads(count), pytest.raises(ZeroDivisionError, match="piece 5"):
            _each(10_000, work)
        assert len(begun) < 10_000
    with threads(2):
        _each(5, lambda piece, turn: begun.append(-1))
    assert begun.count(-1) == 5


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to a thread")
def test_an_interrupt_ends_all() -> None:
    """The calling thread gets it; when it has it no other works any more."""
    working: set[int] = set()
    main = threading.main_thread().ident
    assert main == threading.get_ident()

    def work(piece: int, turn: Turn) -> None:
        working.add(piece)
        if piece == 3:
            signal.pthread_kill(main, signal.SIGINT)
        with turn:
            working.remove(piece)

    with threads(2), pytest.raises(KeyboardInterrupt):
        _each(5_000, work)
    assert not working


def test_settings_of_the_calling_thread_hold() -> None:
    def settings() -> tuple[object, ...]:
        autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *autocast

    def seen() -> set[tuple[object, ...]]:
        found: set[tuple[object, ...]] = set()
        _each(10, lambda piece, turn: found.add(settings()))
        return found

    with threads(2):
        assert seen() == {settings()}
        with torch.no_grad():
            assert seen() == {(False, *settings()[1:])}
        with torch.inference_mode():
            assert seen() == {settings()}
        with torch.autocast("cpu", torch.float16):
            assert seen() == {(True, False, True, torch.float16)}


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", [_Operations, lambda: torch.device("cpu")])
def test_what_watches_the_calling_thread_sees_all(
    mode: Callable[[], contextlib.AbstractContextManager[object]],
) -> None:
    """A mode of torch's holds for one thread."""
    seen: set[int] = set()
    with threads(2), mode():
        _each(10, lambda piece, turn: seen.add(threading.get_ident()))
    assert seen == {threading.get_ident()}


def test_nothing_is_kept() -> None:
    kept: list[weakref.ref[Tensor]] = []

    def worker() -> Callable[[int, Turn], None]:
        scratch = torch.zeros(10)
        kept.append(weakref.ref(scratch))
        return lambda piece, turn: turn.__exit__(scratch.add_(1))

    with threads(2):
        by_threads(range(20), lambda piece: [piece], worker, 2)
    assert kept
    assert not any(ref() is not None for ref in kept)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that are split off")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_process_that_is_split_off_has_threads_of_its_own() -> None:
    """The parent's, which it does not have, are at rest."""

    def count() -> None:
        done: list[int] = []
        _each(20, lambda piece, turn: done.append(piece))
        if len(done) != 20:
            raise SystemExit(3)

    with threads(2):
        count()
        child = multiprocessing.get_context("fork").Process(target=count)
        child.start()
        child.join(60)
        if child.is_alive():
            child.kill()
    assert child.exitcode == 0


def test_a_thread_that_outlives_the_main_one_computes_on() -> None:
    """When no thread can be started any more."""
    script = """if True:
        import threading
        from couplings.engine.threads import by_threads
        def late():
            threading.main_thread().join()
            done = []
            work = lambda piece, turn: done.append(piece)
            by_threads(range(20), lambda piece: [piece], lambda: work, 2)
            print(len(done))
        threading.Thread(target=late).start()
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout == "20\n", run.stderr
