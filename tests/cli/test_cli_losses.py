"""`couplings losses`: every loss by name, one in full, and a name that is nearly right."""

from __future__ import annotations

import pytest

from couplings.cli import main
from couplings.losses import LOSSES


def test_all_are_listed_with_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses"]) == 0
    out = capsys.readouterr().out
    assert all(f"│ {name} " in out for name in LOSSES)
    assert "rho1=0.2" in out
    assert "couplings train --loss" in out


def test_one_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", "gca-uot"]) == 0
    out = capsys.readouterr().out
    assert "GCAUOT: GCA-UOT: an unbalanced plan" in out
    assert "Relations:" in out


def test_a_misspelt_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["losses", "gca-uo"]) == 2
    assert "did you mean 'gca-uot'?" in capsys.readouterr().err
