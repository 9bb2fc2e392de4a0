"""`import couplings` brings torch and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def _outside(modules: set[str]) -> set[str]:
    roots = {name.split(".")[0] for name in modules}
    return {root for root in roots - set(sys.stdlib_module_names) if root != "couplings"}


def test_nothing_beyond_torch_is_imported() -> None:
    torch_alone, with_couplings = (_modules_after(f"import {name}") for name in ("torch", "torch, couplings"))
    added = with_couplings - torch_alone
    assert "couplings.couple" in added
    assert _outside(added) == set()


def test_the_extras_stay_outside() -> None:
    modules = _modules_after("import couplings, couplings.losses, couplings.diagnostics")
    assert not [name for name in modules if name.startswith(("couplings.train", "couplings.report", "couplings.cli"))]
    assert not modules & {"timm", "sklearn", "kornia", "matplotlib", "lightning_fabric", "pydantic", "rich", "ot"}
