"""Claims are found, examined side by side, shown and written; those that fail are told."""

from __future__ import annotations

import html
import json
import math
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from couplings.basics.errors import InvalidInput
from couplings.cli import main
from couplings_theory.catalogue import FAMILIES, claim_named, family_named, selected
from couplings_theory.claim import Check, Claim, Finding, Paper, Picture, Relation, Standing, at_least, at_most, equal
from couplings_theory.examination import Outcome, _Result, _work, examine, examine_one
from couplings_theory.page import PAGE, summary, write

CHEAP = ("hard-negatives/kappa", "attraction-repulsion/weights")


def _draw(figure: Figure) -> None:
    figure.subplots().plot([0, 1], [0, 1])


def _finding(*checks: Check) -> Finding:
    return Finding(checks, Picture(_draw, (3, 2), "A line", "It rises."), ("A remark.",))


def _claim(*checks: Check, statement: str = "One is one.") -> Claim:
    return Claim("minmax/fake", "A fake", statement, Paper.GCA, Standing.DERIVED, lambda: _finding(*checks))


@pytest.mark.parametrize(
    ("check", "passed", "gap"),
    [
        (equal("x", 1.0, 1.0, 0.0), True, 0.0),
        (equal("x", 1.1, 1.0, 0.05), False, 0.1),
        (at_least("x", 1.1, 1.0), True, 0.0),
        (at_least("x", 0.9, 1.0, 0.2), True, 0.1),
        (at_least("x", 0.9, 1.0), False, 0.1),
        (at_most("x", 0.9, 1.0), True, 0.0),
        (at_most("x", 1.1, 1.0), False, 0.1),
        (at_most("x", math.inf, 1.0), False, math.inf),
    ],
)
def test_a_check_compares(check: Check, passed: bool, gap: float) -> None:
    assert check.passed is passed
    assert check.gap == pytest.approx(gap)


@pytest.mark.parametrize("relation", list(Relation))
def test_nan_never_passes(relation: Relation) -> None:
    assert not Check("x", math.nan, relation, 1.0, math.inf).passed
    assert not Check("x", 1.0, relation, math.nan, math.inf).passed


def test_a_claim_without_numbers_does_not_hold() -> None:
    assert not examine_one(_claim()).passed


def test_names_are_unique_and_of_their_family() -> None:
    names = [claim.name for claim in selected([])]
    assert len(names) == len(set(names)) >= 40
    for family in FAMILIES:
        assert family.claims
        assert {claim.family for claim in family.claims} == {family.name}
        assert all(re.fullmatch(r"[a-z-]+/[a-z-]+", claim.name) for claim in family.claims)


def test_every_paper_has_claims() -> None:
    assert {claim.paper for claim in selected([])} == set(Paper)


def test_selection_keeps_the_order_of_the_catalogue() -> None:
    chosen = [
        claim.name for claim in selected(["attraction-repulsion/weights", "hard-negatives", "hard-negatives/kappa"])
    ]
    assert chosen == [*(claim.name for claim in family_named("hard-negatives").claims), "attraction-repulsion/weights"]


@pytest.mark.parametrize("name", ["minimax", "minmax/lower-bond", "nothing/at-all"])
def test_a_wrong_name_is_told(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"is no (claim|family)"):
        selected([name])


def test_an_error_is_an_outcome() -> None:
    def broken() -> Finding:
        raise ArithmeticError("lost")

    outcome = examine_one(Claim("minmax/fake", "A fake", "It runs.", Paper.GCA, Standing.DERIVED, broken))
    assert not outcome.passed
    assert outcome.error == "ArithmeticError: lost"
    assert outcome.picture is None


def test_a_missing_solver_says_nothing_about_a_claim(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(*_: object, **__: object) -> list[Outcome]:
        return [_Result(missing="cvxpy").of(_claim())]

    with pytest.raises(ModuleNotFoundError) as caught:
        without()
    assert caught.value.name == "cvxpy"
    monkeypatch.setattr("couplings.cli.examining.examine", without)
    assert main(["theory", "--only", CHEAP[0]]) == 2
    assert "cvxpy is not installed; pip install 'couplings[theory]'" in capsys.readouterr().err


def test_a_library_that_is_missing_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs() -> Finding:
        raise ModuleNotFoundError("no module named ot", name="ot")

    claim = Claim("minmax/fake", "A fake", "It solves.", Paper.GCA, Standing.DERIVED, needs)
    monkeypatch.setattr("couplings_theory.examination.claim_named", lambda name: claim)
    assert _work(claim.name, lambda steps: None).missing == "ot"


def test_figures_of_other_claims_go_and_other_files_stay(tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    for name in ("minmax-descent.svg", "mine.png"):
        (figures / name).write_text("old")
    write([examine_one(_claim(equal("one", 1.0, 1.0, 0.0)))], tmp_path, "c")
    assert sorted(path.name for path in figures.iterdir()) == ["mine.png", "minmax-fake.png", "minmax-fake.svg"]


def test_nothing_is_left_of_work_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> list[Outcome]:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("couplings.cli.examining.examine", stopped)
    assert main(["theory", "--only", CHEAP[0], "--output", "new/folder"]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    told: list[Outcome] = []
    found = examine([claim_named(name) for name in CHEAP], workers=2, on_outcome=told.append)
    assert {one.claim.name for one in told} == set(CHEAP)
    return found


def test_processes_find_what_one_finds(outcomes: list[Outcome]) -> None:
    assert [one.claim.name for one in outcomes] == list(CHEAP)
    assert all(one.passed for one in outcomes)
    for one in outcomes:
        here = examine_one(one.claim)
        assert [(c.what, c.relation, c.expected) for c in here.checks] == [
            (c.what, c.relation, c.expected) for c in one.checks
        ]
        assert here.picture is not None
        assert one.picture is not None
        assert one.picture.svg.startswith(b"<?xml")
        assert one.picture.png.startswith(b"\x89PNG")


def test_what_is_written(outcomes: list[Outcome], tmp_path: Path) -> None:
    failed = examine_one(_claim(equal("one", 2.0, 1.0, 1e-9), statement="<script>alert(1)</script> & more"))
    page, numbers, figures = write([*outcomes, failed], tmp_path / "deep" / "folder", "couplings theory <x>")
    text = page.read_text()
    assert "<script" not in text
    assert html.escape("<script>alert(1)</script> & more") in text
    assert "2 of 3 claims hold" in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    records = json.loads(numbers.read_text())["claims"]
    assert [record["passed"] for record in records] == [True, True, False]
    assert records[2]["checks"] == [
        {"what": "one", "obtained": 2.0, "relation": "=", "expected": 1.0, "tolerance": 1e-9, "passed": False}
    ]
    stems = {name.replace("/", "-") for name in (*CHEAP, "minmax/fake")}
    assert {path.name for path in figures.iterdir()} == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}


def test_json_has_words_for_what_is_no_number(tmp_path: Path) -> None:
    outcome = examine_one(_claim(equal("none", math.nan, 1.0, 1.0), equal("all", math.inf, 1.0, 1.0)))
    numbers = write([outcome], tmp_path, "c")[1]
    kept = json.loads(numbers.read_text(), parse_constant=pytest.fail)
    assert [check["obtained"] for check in kept["claims"][0]["checks"]] == ["nan", "inf"]
    assert summary([outcome]) == "0 of 1 claims hold (2 numbers checked)."


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "--only", *CHEAP, "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"passed {CHEAP[0]}" in said
    assert "expected" in said
    assert "2 of 2 claims hold" in said
    assert (tmp_path / PAGE).is_file()


def test_the_command_fails_with_a_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = examine_one(_claim(equal("one", 2.0, 1.0, 1e-9)))
    monkeypatch.setattr("couplings.cli.examining.examine", lambda claims, workers, told: [failed])
    assert main(["theory", "--only", CHEAP[0], "--output", str(tmp_path)]) == 1
    assert "FAILED minmax/fake" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "latent"], "did you mean 'latent-classes'?"),
        (["--workers", "0"], "workers: 0 came"),
        (["latent-clases"], "is no command of 'couplings theory'; claims are named behind --only"),
        (["--only"], "--only names nothing"),
        (["latent-classes", "--prior", "0.5", "0.4", "--k", "1"], "prior must sum to one"),
        (["latent-classes", "--prior", "0.5", "0.5", "--k", "0"], "must be an integer >= 1, got 0"),
        (["latent-classes", "--prior", "0.5", "0.5", "--k", "2", "--scale", "nan"], "scale must be finite"),
    ],
)
def test_a_mistake_is_one_message(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["theory", *words, "--output", str(tmp_path / "none")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_question_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--prior", "0.85", "0.1", "0.05", "--k", "1", "4"]
    assert main(["theory", "latent-classes", *words, "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2+3" in said
    assert "share one vector" in said
    kept = json.loads((tmp_path / "latent-classes.json").read_text())
    assert [row["k"] for row in kept["rows"]] == [1, 4]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".svg", ".png"}
