"""Values as people write them: YAML of a size, depth and number that settings have, and nothing that makes objects.

>>> parsed("1e-3"), parsed("[0.4, 1]"), parsed("2001-13-45")
(0.001, [0.4, 1], '2001-13-45')
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from couplings.train.errors import shown

__all__ = ["parsed", "read_yaml"]

_DEEPEST, _MOST = 20, 5000
"""Levels of a value, and values in a file, once every alias is written out."""
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
"""YAML 1.1 takes 1e-3 for a word."""


def read_yaml(text: str) -> Any:
    """The value of a YAML document; dates are words, as settings have none.

    Raises:
        yaml.YAMLError: it is none, a key comes twice, a value is no number though it is marked as one, or it is nested
            more than 20 levels deep or holds more than 5,000 values, those behind aliases included.
    """
    import yaml

    return yaml.load(text, Loader=_loader())


def parsed(text: str) -> Any:
    """A single value: number, word, true, [0.4, 1], {within: 0.3}; what is no YAML is a word."""
    import yaml

    try:
        value = read_yaml(text)
    except yaml.YAMLError:
        return text
    return _number(value) if isinstance(value, str) else value


def _number(text: str) -> float | str:
    """Words that Python takes for numbers: nan, inf."""
    try:
        return float(text)
    except ValueError:
        return text


@cache
def _loader() -> type[Any]:
    import yaml

    class Strict(yaml.SafeLoader):
        """Counts while it composes, before anything is built."""

        def __init__(self, text: str) -> None:
            super().__init__(text)
            # Of the values that are open: how deep their parts are so far. Of those that are whole: size and depth.
            self._open: list[int] = []
            self._whole: dict[int, tuple[int, int]] = {}
            self._count = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            mark, before, alias = self.peek_event().start_mark, self._count, self.check_event(yaml.AliasEvent)
            _refuse(len(self._open) >= _DEEPEST, f"nested more than {_DEEPEST} levels deep", mark)
            self._open.append(0)
            node = super().compose_node(parent, index)
            size, depth = self._count - before + 1, self._open.pop() + 1
            if alias:
                _refuse(id(node) not in self._whole, "an alias stands inside of what it names", mark)
                size, depth = self._whole[id(node)]
            self._whole[id(node)] = size, depth
            self._count = before + size
            _refuse(self._count > _MOST, f"more than {_MOST} values", mark)
            _refuse(len(self._open) + depth > _DEEPEST, f"nested more than {_DEEPEST} levels deep", mark)
            if self._open:
                self._open[-1] = max(self._open[-1], depth)
            return node

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            # What the constructors of numbers, dates and switches raise about a word that is none.
            except (ValueError, KeyError, AttributeError) as error:
                if isinstance(error, yaml.YAMLError):
                    raise
                what = f"{shown(node.value)} is no {node.tag.rpartition(':')[2]}"
                raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from None

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                word = str(key.value)
                _refuse(word in seen, f"'{word}' comes twice", key.start_mark)
                seen.add(word)
            return super().construct_mapping(node, deep)

    Strict.yaml_implicit_resolvers = {
        first: [(tag, words) for tag, words in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Strict.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
    return Strict


def _refuse(wrong: bool, what: str, mark: Any) -> None:
    import yaml

    if wrong:
        raise yaml.MarkedYAMLError(None, None, what, mark)
