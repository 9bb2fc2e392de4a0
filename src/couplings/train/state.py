"""All that a run needs to go on exactly where it was: tensors by name, and numbers as JSON takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from couplings.train.errors import DataError
from couplings.train.learner import Learner

__all__ = ["State", "restore", "state_of"]


class State(NamedTuple):
    """Tensors by dotted name, and what is no tensor."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]

    def copy(self) -> State:
        """The same, untouched by what training does next."""
        return State({name: tensor.detach().clone() for name, tensor in self.tensors.items()}, dict(self.numbers))


def _modules(learner: Learner) -> dict[str, nn.Module]:
    parts = {"model": learner.model.module, "loss": learner.loss, "slow": learner.slow, "queue": learner.queue}
    return {name: part for name, part in parts.items() if part is not None}


def state_of(learner: Learner, optimiser: Optimizer, precision: Any) -> State:
    """The state of a run between two steps; its tensors are those of the run, not copies."""
    tensors = {f"{part}.{name}": value for part, name, value in _entries(learner)}
    numbers: dict[str, Any] = {"precision": precision.state_dict(), "optimiser": {}}
    for place, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{place}.{name}"] = value
            else:
                numbers["optimiser"][f"{place}.{name}"] = value
    return State(tensors, numbers)


def _entries(learner: Learner) -> list[tuple[str, str, Tensor]]:
    return [(part, *item) for part, module in _modules(learner).items() for item in module.state_dict().items()]


def restore(state: State, learner: Learner, optimiser: Optimizer, precision: Any) -> None:
    """Put a run into a state.

    Raises:
        DataError: the state is of another network or optimiser.
    """
    try:
        for part, module in _modules(learner).items():
            module.load_state_dict(_under(part, state.tensors))
        optimiser.load_state_dict(_optimiser_state(state, optimiser))
        precision.load_state_dict(state.numbers["precision"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"the checkpoint is of another network or optimiser ({error})") from None


def _under(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries below a prefix, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}


def _optimiser_state(state: State, optimiser: Optimizer) -> dict[str, Any]:
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    found: dict[int, dict[str, Any]] = {}
    for name, value in {**_under("optimiser", state.tensors), **state.numbers["optimiser"]}.items():
        place, _, key = name.partition(".")
        found.setdefault(int(place), {})[key] = _laid_out(value, weights[int(place)])
    return {"state": found, "param_groups": optimiser.state_dict()["param_groups"]}


def _laid_out(value: Any, weight: Tensor) -> Any:
    """A copy; with the strides of its weight, because rounding depends on which numbers are computed together."""
    if not isinstance(value, Tensor):
        return value
    return torch.empty_like(weight, dtype=value.dtype).copy_(value) if value.shape == weight.shape else value.clone()
