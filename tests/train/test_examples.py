"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import torch

import couplings.train

MODULES = [module.name for module in pkgutil.iter_modules(couplings.train.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"couplings.train.{name}")
    names = {**vars(couplings.train), **vars(module), "np": np, "torch": torch}
    assert doctest.testmod(module, extraglobs=names).failed == 0
