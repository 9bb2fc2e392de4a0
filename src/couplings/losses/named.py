"""Arguments of a loss that are objects, as settings and the command line say them: a name and keyword parameters.

    {name: rbf, t: 0.5}      RBF(t=0.5)
    {name: power, q: 3}      Power(q=3)
    log1p                    a name alone, with the parameters' defaults

Which objects an argument takes is read off the constructor's annotation (`cost: str | Cost`), so that losses of one's
own have them too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..basics import checks
from ..basics.errors import InvalidInput, did_you_mean
from ..basics.precision import softplus
from ..pieces.costs import RBF, Cosine, DistancePower, ExpSquaredEuclidean, InnerProduct, LogDistance, SquaredEuclidean
from ..pieces.marginals import KL, Fixed, Free
from ..pieces.rules import Entropic, Power, Quadratic
from .wanted import Domains

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": softplus,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
}
"""Functions of one number, by name."""


@dataclass(frozen=True)
class Elementwise:
    """f(x) = factor base(scale x + shift), a `phi` or `psi` of `PairLoss` that has a name.

    Args:
        base: a key of `FUNCTIONS`.
        scale, shift: of the argument.
        factor: of the result.

    Example:
        >>> Elementwise("relu", shift=0.5)(torch.tensor([-1.0, 0.25]))
        tensor([0.0000, 0.7500])
    """

    base: str
    scale: float = 1.0
    shift: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        checks.require(self.base in FUNCTIONS, f"unknown function {self.base!r}; {did_you_mean(self.base, FUNCTIONS)}")
        for name in ("scale", "shift", "factor"):
            checks.finite(name, getattr(self, name))

    def __call__(self, x: Tensor) -> Tensor:
        """The values, in the shape of x."""
        return self.factor * FUNCTIONS[self.base](self.scale * x + self.shift)


NAMED: dict[str, dict[str, Callable[..., Any]]] = {
    "Cost": {
        "inner-product": InnerProduct,
        "cosine": Cosine,
        "sqeuclidean": SquaredEuclidean,
        "exp": ExpSquaredEuclidean,
        "rbf": RBF,
        "distance-power": DistancePower,
        "log-distance": LogDistance,
    },
    "Rule": {"entropic": Entropic, "quadratic": Quadratic, "power": Power},
    "Marginal": {"fixed": Fixed, "kl": KL, "free": Free},
    "Wanted": {"domains": Domains},
    "Callable": {name: partial(Elementwise, name) for name in FUNCTIONS},
}
"""What makes an object, by the type that an annotation says and its name; entries of one's own may be added."""


def known_objects(parameter: inspect.Parameter) -> Mapping[str, Callable[..., Any]]:
    """The objects that an argument takes, by name; none for a plain number or word.

    Example:
        >>> from couplings.losses import CACR, parameters_of
        >>> sorted(known_objects(parameters_of(CACR)["cost"]))[:3]
        ['cosine', 'distance-power', 'exp']
    """
    words = _annotation(parameter)
    return next((objects for kind, objects in NAMED.items() if kind in words), {})


def argument(parameter: inspect.Parameter, value: Any) -> Any:
    """The argument that a setting says: an object where it names one, else the value itself.

    A word is left to a constructor that takes words, whose own names these are; ``name`` may be left out where only one
    object is known.

    Raises:
        InvalidInput: an unknown name or parameter (with the nearest known one), a missing one, or one out of range.

    Example:
        >>> from couplings.losses import CACR, parameters_of
        >>> argument(parameters_of(CACR)["cost"], {"name": "rbf", "t": 0.5})
        RBF(t=0.5)
    """
    known, key = known_objects(parameter), parameter.name
    if (
        not known
        or not isinstance(value, Mapping | str)
        or (isinstance(value, str) and "str" in _annotation(parameter))
    ):
        return value
    given = {"name": value} if isinstance(value, str) else dict(value)
    name = given.pop("name", next(iter(known)) if len(known) == 1 else None)
    if name is None:
        raise InvalidInput(f"{key}.name: missing; known: {', '.join(known)}")
    if not isinstance(name, str) or name not in known:
        raise InvalidInput(f"{key}: unknown name '{name}'; {did_you_mean(str(name), known)}")
    takes = inspect.signature(known[name]).parameters
    for word in given:
        if word not in takes:
            raise InvalidInput(f"{key}.{word}: '{name}' has no such parameter; {did_you_mean(str(word), takes)}")
    needed = [word for word, part in takes.items() if part.default is part.empty]
    for word in needed:
        if word not in given:
            raise InvalidInput(f"{key}.{word}: missing; '{name}' needs {' and '.join(needed)}")
    try:
        return known[name](**given)
    except InvalidInput as error:
        raise InvalidInput(f"{key}: {error}") from None


def in_settings(value: Any) -> str:
    """A value as settings say it, for titles and tables.

    >>> in_settings({"name": "rbf", "t": 0.5}), in_settings([0.4, 1.0]), in_settings("exp")
    ('{name: rbf, t: 0.5}', '[0.4,1]', 'exp')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_settings(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(in_settings, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _annotation(parameter: inspect.Parameter) -> set[str]:
    """The words of an annotation, which may be a type or its text."""
    return set(re.findall(r"\w+", inspect.formatannotation(parameter.annotation)))
