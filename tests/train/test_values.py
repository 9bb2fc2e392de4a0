"""Text that people write: bounded in size, depth and number before anything is built of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from couplings.cli import main
from couplings.train import ConfigError, RunConfig, with_overrides
from couplings.train.config.values import parsed, read_yaml
from couplings.train.encoders import ImageShape, build_encoder
from couplings.train.errors import brief, shown
from couplings.train.recipes import read_recipe


def _bomb(first: str, wrap: str) -> str:
    """Eleven lines that stand for 9^11 values."""
    lines = [f"a0: &a0 {first}"]
    for level in range(1, 12):
        names = ", ".join(f"k{place}: *a{level - 1}" if wrap == "{}" else f"*a{level - 1}" for place in range(9))
        lines.append(f"a{level}: &a{level} {wrap[0]}{names}{wrap[1]}")
    return "\n".join(lines)


HOSTILE = {
    "a bomb of lists": (_bomb("[lol]", "[]"), "more than 5000 values"),
    "a bomb of mappings": (_bomb("{x: 1}", "{}"), "more than 5000 values"),
    "an alias of itself": ("a: &a {b: *a}", "an alias stands inside of what it names"),
    "a chain of aliases": (
        "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 40))]),
        "20 levels",
    ),
    "a deep list": ("steps: " + "[" * 200_000, "20 levels"),
    "deep blocks": ("\n".join(" " * level + "a:" for level in range(300)), "20 levels"),
    "a long list": ("steps: [" + "1," * 6000 + "]", "more than 5000 values"),
    "no whole number": ("steps: !!int abc", "'abc' is no int"),
    "no float": ("steps: !!float x", "'x' is no float"),
    "no switch": ("data.download: !!bool x", "'x' is no bool"),
    "no date": ("steps: !!timestamp x", "'x' is no timestamp"),
    "5,000 digits": ("steps: " + "9" * 5000, "is no int"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_recipe_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    text, words = HOSTILE[name]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as refusal:
        read_recipe(path)
    assert str(refusal.value).startswith(f"{path}: line ")
    assert len(str(refusal.value)) < 700 + len(str(path))
    # The same text as a single value is a word, which no setting but a path or a name takes.
    value = text.partition("steps: ")[2] or text
    assert parsed(value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("[1e3, -.5e2]", [1000.0, -50.0]),
        ("inf", float("inf")),
        ("true", True),
        ("{within: 0.3}", {"within": 0.3}),
        ("2001-13-45", "2001-13-45"),
        ("2024-01-01", "2024-01-01"),
        ("[x", "[x"),
        ("base: &b {x: 1}\nother: {<<: *b, y: 2}", {"base": {"x": 1}, "other": {"x": 1, "y": 2}}),
        ("[" * 20 + "]" * 20, eval("[" * 20 + "]" * 20)),
    ],
)
def test_what_values_are(text: str, value: Any) -> None:
    assert parsed(text) == value
    assert type(parsed(text)) is type(value)


def test_the_limits_are_where_they_are_said_to_be() -> None:
    assert len(read_yaml("[" + "1," * 4999 + "]")) == 4999
    with pytest.raises(yaml.YAMLError, match="more than 5000 values"):
        read_yaml("[" + "1," * 5000 + "]")
    with pytest.raises(yaml.YAMLError, match="20 levels"):
        read_yaml("[" * 21 + "]" * 21)


WHOLE = (
    "steps batch_size micro_batch log_every diagnose_every checkpoint_every seed data.size data.limit views.count"
    " views.local.count views.local.size pairs.negatives pairs.pool projector.hidden projector.dim predictor.hidden"
    " momentum.queue optimiser.warmup_steps evaluation.neighbours evaluation.probe_limit evaluation.few_labels"
    " evaluation.draws loss.sweeps"
)


@pytest.mark.parametrize("key", WHOLE.split())
@pytest.mark.parametrize("value", [2**70, 10**5000], ids=["2^70", "10^5000"])
def test_every_whole_number_has_a_largest(key: str, value: int) -> None:
    more = (
        {"views.local.size": 4} if key == "views.local.count" else {"pairs.negatives": 3} if key == "pairs.pool" else {}
    )
    more |= {"loss": "gca-ince"} if key == "loss.sweeps" else {}
    with pytest.raises(ConfigError) as refusal:
        with_overrides(RunConfig(), {**more, key: value})
    assert key.rpartition(".")[2] in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "command",
    [
        "train --set steps={}",
        "compare --losses infonce --vary steps={}",
        "inspect x.npz --output o --loss infonce:temperature={}",
    ],
)
@pytest.mark.parametrize(
    "value", ["2001-13-45", "!!int x", "[" * 3000, "9" * 5000], ids=["date", "tag", "deep", "digits"]
)
def test_a_hostile_value_is_told_wherever_it_stands(
    command: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([word.format(value) for word in command.split()]) == 2
    said = capsys.readouterr().err
    assert said.startswith("couplings: error: ")
    assert len(said) < 1600


def test_an_encoder_is_not_that_wide() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.width: must be at most 65536, got a number of 16,610 bits"):
        build_encoder("small-cnn", ImageShape(1, 8, 8), {"width": 10**5000})


def test_a_recipe_is_a_regular_file_of_some_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_text("#" * 300_000)
    for path, words in {
        "/dev/zero": "no regular file",
        tmp_path / "pipe.yaml": "no regular file",
        tmp_path / "large.yaml": "300,000 bytes, where 262,144 are allowed",
        tmp_path / ("a" * 5000): "name too long",
    }.items():
        with pytest.raises(ConfigError, match=words):
            read_recipe(path)


def test_no_path_holds_a_nul_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"data\.folder: no path holds a NUL byte"):
        with_overrides(RunConfig(), {"data.name": "npz", "data.folder": "a\0b"})
    assert main(["train", "--output", str(tmp_path / "a\0b")]) == 2
    assert "NUL byte" in capsys.readouterr().err


def test_values_are_short_in_messages() -> None:
    assert len(shown([["x" * 1000] * 100] * 100)) < 10_000
    assert shown(10**5000) == "a number of 16,610 bits"
    assert shown({"count": 4}) == "{'count': 4}"
    assert brief("a" * 40, 13) == "aaaa ... aaaa"
    assert brief("short") == "short"
