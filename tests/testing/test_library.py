"""The library's own losses pass the checks that a stranger's loss is given."""

from __future__ import annotations

import pytest

from couplings import Loss
from couplings.losses import LOSSES
from couplings.testing import check_loss
from tiers import by_default

KINDS = {kind.__name__: kind for name, kind in LOSSES.items() if name != "pair-loss"}
CONSTANT_SHIFT = {"gradient", "second-derivative"}
ASIDE = dict.fromkeys(("RINCE", "GCARINCE", "GCAUOT"), CONSTANT_SHIFT)
"""Where by definition the gradient is not that of the value: the scale of the powers is held constant."""


def _checked(loss: Loss, processes: bool) -> list[str]:
    """The names of the checks that were run, all of them passed."""
    names = []
    for check in check_loss(loss):
        name = check.name
        if name not in ASIDE.get(type(loss).__name__, set()) and processes == (name == "gather"):
            check()
            names.append(name)
    return names


@by_default(name=("InfoNCE", "SigLIP", "GCAINCE", "HCL", "AlphaCL", "CACR"))
@pytest.mark.parametrize("name", KINDS)
def test_on_one_process(name: str) -> None:
    assert len(_checked(KINDS[name](), processes=False)) > 10


@by_default(name=("InfoNCE", "GCAINCE", "CACR"))
@pytest.mark.parametrize("name", KINDS)
def test_over_two_processes(name: str) -> None:
    assert _checked(KINDS[name](), processes=True) == ["gather"]
