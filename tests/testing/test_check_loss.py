"""The checks of a loss: right losses pass them all, and each check fails for a loss that is wrong in its way."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from faulty import FAULTS, Mine, Norms, Soft

from couplings import GCAINCE, HCLOT, Alignment, InfoNCE, InvalidInput, Loss
from couplings.testing import Check, Nonconforming, Processes, check_loss, parametrize_with_checks
from couplings.testing.check import KINDS

BOTH = Processes(2)


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    BOTH.close()


@parametrize_with_checks(Mine(), Soft(), processes=BOTH)
def test_losses_of_a_stranger_pass(check: Check) -> None:
    check()


@pytest.mark.parametrize(("fault", "name", "words"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_is_seen_by_its_check(fault: type[Loss], name: str, words: str) -> None:
    (check,) = check_loss(fault(), only=[name], processes=BOTH)
    with pytest.raises(Nonconforming) as failed:
        check()
    said = str(failed.value)
    assert said.startswith(f"{fault.__name__}(")
    assert f"check '{name}': " in said
    assert words in said
    assert f"Usual cause: {KINDS[name].cause}." in said


def test_every_check_is_seen_to_fail() -> None:
    assert {name for _, name, _ in FAULTS} == set(KINDS)


def test_a_failure_shows_the_figures() -> None:
    (check,) = check_loss(Norms(), only=["scale"])
    with pytest.raises(AssertionError, match=r"value: off by \d\.\d\de[-+]\d+, \d\.\de-\d+ allowed \(found up to \d"):
        check()


NAMES = set(KINDS)
YIELDED = [
    (InfoNCE(), NAMES - {"target", "state-dict"}),
    (InfoNCE(learnable=True), NAMES - {"target"}),
    (InfoNCE(normalize=False, gather=False), NAMES - {"target", "state-dict", "scale", "gather", "pair-weights"}),
    (GCAINCE(), NAMES - {"keys", "negatives", "state-dict"}),
    (HCLOT(), NAMES - {"negatives", "target", "state-dict"}),
    (Alignment(), NAMES - {"ids", "labels", "keys", "negatives", "target", "state-dict"}),
]


@pytest.mark.parametrize(("loss", "names"), YIELDED, ids=lambda value: str(value) if isinstance(value, Loss) else "")
def test_what_does_not_concern_a_loss_is_not_checked(loss: Loss, names: set[str]) -> None:
    assert {check.name for check in check_loss(loss)} == names


def test_checks_can_be_chosen() -> None:
    assert [str(check) for check in check_loss(Mine(), only=["rotation", "value"])] == ["value-Mine", "rotation-Mine"]
    assert "rotation" not in {check.name for check in check_loss(Mine(), skip=["rotation"])}
    assert "views-exchanged" not in {check.name for check in check_loss(Mine(), symmetric=False)}
    with pytest.raises(InvalidInput, match="there is no check 'rotations': did you mean 'rotation'"):
        check_loss(Mine(), only=["rotations"])
    with pytest.raises(InvalidInput, match="check_gradients compares other losses"):
        check_loss(Mine)  # type: ignore[arg-type]


def test_checks_leave_random_numbers_and_the_loss_alone() -> None:
    loss = Soft()
    before, state = torch.random.get_rng_state(), pickle.dumps(loss.state_dict())
    for check in check_loss(loss, only=["value", "half-precision", "state-dict", "gradient"]):
        check()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert pickle.dumps(loss.state_dict()) == state
    assert loss.log_scale.grad is None


SCRIPT = """from couplings.testing import check_loss
from faulty import Mine
if {guard}:
    for check in check_loss(Mine(), only=["value", "gather"]): check()
    import sys
    print("sound" if "pytest" not in sys.modules else "pytest was loaded")
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_three_lines_without_pytest(tmp_path: Path, guarded: bool) -> None:
    """A script, and one that forgets what the start of processes needs."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard="__name__ == '__main__'" if guarded else "True"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, timeout=300)
    assert ("sound" in done.stdout) == guarded, done.stderr
    assert ("under `if __name__ == '__main__':`" in done.stderr) != guarded
