"""Modules that moved are there under their old names too, for one release: the same objects, with a warning."""

import importlib
import sys

import pytest

from couplings.basics.moved import MOVED


@pytest.mark.parametrize("old", [*MOVED, "couplings.theory.claim"])
def test_an_old_name_is_the_module_itself(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.deprecated_call(match="goes with the next release"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(module.__name__)
    assert module.__name__ != old


def test_names_that_never_were_are_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("couplings.theory.nothing")
