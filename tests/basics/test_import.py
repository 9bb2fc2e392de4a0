"""`import couplings` brings torch and nothing else."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

EVERYTHING = "import couplings, couplings.losses, couplings.diagnostics"


@functools.cache
def _modules_after(statement: str) -> frozenset[str]:
    code = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


def _outside(modules: frozenset[str]) -> set[str]:
    roots = {name.split(".")[0] for name in modules}
    return {root for root in roots - set(sys.stdlib_module_names) if root != "couplings"}


def test_nothing_beyond_torch_is_imported() -> None:
    added = _modules_after(EVERYTHING) - _modules_after("import torch")
    assert "couplings.plans.solve" in added
    assert _outside(added) == set()


def test_the_extras_stay_outside() -> None:
    modules = _modules_after(EVERYTHING)
    assert not [name for name in modules if name.startswith(("couplings.train", "couplings.report", "couplings.cli"))]
    assert not modules & {"timm", "sklearn", "kornia", "matplotlib", "lightning_fabric", "pydantic", "rich", "ot"}
