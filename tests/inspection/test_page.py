from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from inspected import HOSTILE, everything, many, noisy, nothing, page_of_everything, page_of_nothing, plain

from couplings import InfoNCE
from couplings.inspection import Settings, Subject, advice, inspect
from couplings.inspection.charts import responses
from couplings.inspection.page import _verdict, page
from couplings.inspection.payload import clipped, label_words, payload, written
from couplings.inspection.thumbs import thumbnails
from couplings.inspection.truth import Depth, Truth


class _Read(HTMLParser):
    """Elements with their attributes, the text of the page, and the data of its script."""

    def __init__(self, whole: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(whole.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for one, attributes in self.elements if one == tag]


@pytest.fixture(scope="module")
def whole() -> _Read:
    return _Read(page_of_everything())


@pytest.fixture(scope="module")
def data(whole) -> dict:
    return json.loads(whole.scripts[0])


def test_sections_come_in_order(whole):
    wanted = [
        "summary",
        "batch",
        "responses",
        "gallery",
        "failing",
        "hubs",
        "space",
        "map",
        "labels",
        "history",
        "files",
    ]
    assert [section["id"] for section in whole.named("section")] == wanted


def test_what_is_not_known_has_no_section():
    read = _Read(page_of_nothing())
    wanted = ["summary", "batch", "responses", "gallery", "hubs", "space", "map", "files"]
    assert [section["id"] for section in read.named("section")] == wanted
    assert {"href": "#failing"} not in read.named("a")
    assert "select" in [tag for tag, _ in read.elements]
    assert all(one.get("name") != "relation" for one in read.named("select"))


def test_advice_and_figures_are_said(whole):
    text = " ".join(whole.text)
    for one in advice(everything()):
        assert one.finding in text
        assert one.remedy in text
    for name in ("effective rank", "effective negatives", "uniformity", "failing positives", "hubs"):
        assert name in text


def test_nothing_is_asked_of_a_network(whole):
    addresses = [
        value for _, every in whole.elements for key, value in every.items() if key in ("src", "href", "action")
    ]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert b"@import" not in page_of_everything()
    assert b"url(" not in page_of_everything()
    assert b"innerHTML" not in page_of_everything()


def test_pictures_are_said_in_words(whole):
    assert len(whole.named("img")) == 5
    assert all(len(image["alt"]) > 20 for image in whole.named("img"))


def test_words_from_data_are_text(whole):
    assert len(whole.scripts) == 2
    assert all("onerror" not in attributes for _, attributes in whole.elements)
    assert any("<script>alert(0)</script>" in text for text in whole.text)
    assert "{{ 7*7 }}" in whole.text
    assert "<" not in whole.scripts[0]


def test_data_keep_the_words(data):
    texts = {sample["row"]: sample["text"] for sample in data["samples"].values()}
    assert texts[0] == f"{HOSTILE[3]} said 0"
    assert texts[11] == f"{HOSTILE[2]} said 11"
    assert texts[5] == "🦊 fox ? half said 5"
    assert texts[3].endswith("…")
    assert len(texts[3]) <= 400


def test_matrices_and_places_survive_packing(data):
    found = everything()
    for name in ("plan", "push", "similarity"):
        packed = np.frombuffer(b64decode(data["batch"][name]), "<f4")
        assert np.array_equal(packed, getattr(found.batch, name).float().numpy().ravel())
    chosen = torch.tensor(data["map"]["rows"])
    x = np.frombuffer(b64decode(data["map"]["x"]), "<f4")
    assert np.array_equal(x, found.projection.places[chosen, 0].numpy())


def test_rows_that_are_shown_are_there(data):
    found = everything()
    pairs = [row for one in found.gallery for row in one.pair]
    wanted = {*found.batch.rows.tolist(), *pairs, *found.failing_positives.tolist(), *found.hubs.tolist()}
    assert wanted <= set(map(int, data["samples"]))
    assert [one["row"] for one in data["failing"]] == found.failing_positives[:60].tolist()
    assert [one["row"] for one in data["hubs"]] == found.hubs[:60].tolist()
    assert len(data["hubs"]) > 0
    assert len(data["failing"]) > 0


def test_runs_of_labels_cover_the_batch(data):
    classes = data["batch"]["classes"]
    assert classes[0]["start"] == 0
    assert [one["end"] for one in classes[:-1]] == [one["start"] for one in classes[1:]]
    assert classes[-1]["end"] == len(data["batch"]["rows"])
    assert classes[0]["label"] == "no label"


def test_scales_span_the_pairs_that_are_not_a_sample_and_itself(data):
    found, scale = everything(), data["batch"]["scales"]["similarity"]
    apart = ~torch.eye(len(found.batch.rows), dtype=torch.bool)
    assert scale["high"] == pytest.approx(found.batch.similarity[apart].max().item())
    assert scale["ticks"][0] == pytest.approx(scale["low"])
    assert scale["ticks"][-1] == pytest.approx(scale["high"])


def test_relations_of_labels(data):
    found = everything()
    labels = found.subject.labels
    for one in data["gallery"]:
        first, second = labels[one["pair"]].tolist()
        wanted = "" if min(first, second) < 0 else "same" if first == second else "different"
        assert one["relation"] == wanted


def test_smaller_classes_share_a_look():
    kinds, looks = (payload(everything())["map"][key] for key in ("kinds", "looks"))
    assert [kind["other"] for kind in kinds] == [False] * 10 + [True]
    assert kinds[-1]["name"] == "other labels"
    assert max(looks) == 10


def test_rows_of_part_of_the_data_keep_their_numbers():
    found = nothing()
    subject = replace(found.subject, numbers=1000 + torch.arange(len(found.subject)))
    samples = payload(replace(found, subject=subject))["samples"]
    assert all(sample["row"] == 1000 + row for row, sample in samples.items())


def test_a_page_stays_small_and_names_how_many_rows_it_shows():
    whole = page(many())
    assert 6e6 < len(whole) < 15e6
    assert b"4,000 of 20,000 rows" in whole


def test_pages_of_the_same_are_the_same():
    assert page(nothing()) == page_of_nothing()


def test_few_rows_make_a_page():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = inspect(Subject("two", z, labels=torch.tensor([0, 0])), {"infonce": InfoNCE(0.2)}, Settings(batch_size=4))
    assert page(found).startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("shape", [(2, 3), (5, 1), (20, 4)])
def test_rows_that_all_coincide_make_a_page(shape):
    found = inspect(Subject("equal", torch.ones(shape)), {"infonce": InfoNCE(0.2)})
    assert b"hardly var" in page(found)


def test_json_has_no_nan_and_no_bracket():
    text = written({"a": [float("nan"), float("inf"), 1.5], "b": "</script>\ud800"})
    assert json.loads(text) == {"a": [None, None, 1.5], "b": "</script>?"}
    assert "<" not in text


def test_clipped_words():
    assert clipped("abc", 3) == "abc"
    assert clipped("abcd", 3) == "ab…"


def test_thumbnails_keep_to_the_budget_and_the_first_rows():
    every = thumbnails(plain, range(400), budget=10_000)
    assert 0 < len(every) < 400
    assert list(every) == list(range(len(every)))
    assert sum(map(len, every.values())) <= 10_000
    assert thumbnails(None, [1, 2]) == {}


def test_heavy_pictures_are_packed_again():
    png, jpeg = thumbnails(plain, [0])[0], thumbnails(noisy, [0])[0]
    assert png.startswith("data:image/png;base64,")
    assert jpeg.startswith("data:image/jpeg;base64,")
    assert len(jpeg) < len(noisy([0])[0]) / 2


@pytest.mark.parametrize(
    ("by_similarity", "by_push", "word"),
    [(0.5, 0.9, "better"), (0.9, 0.5, "worse"), (0.9, 0.91, "no better and no worse"), (1.0, 1.0, "no better")],
)
def test_verdict(by_similarity, by_push, word):
    rows = (Depth(100, by_similarity, by_push), Depth(200, 0.7, 0.7))
    assert word in _verdict(Truth(rows, 0.1, 0.2))


def test_verdict_without_candidates():
    assert "nothing can be compared" in _verdict(Truth((), 0.1, 0.2))


@pytest.mark.parametrize("labels", [None, torch.arange(120) % 3])
def test_no_pairs_to_show_make_a_page(labels):
    found = nothing()
    bare = replace(found, gallery=(), subject=replace(found.subject, labels=labels))
    assert payload(bare)["gallery"] == []
    assert page(bare).startswith(b"<!DOCTYPE html>")


def _marked(labels: list[int]) -> list[tuple[int, int]]:
    """Where marked labels begin and end, in a batch whose rows have these labels."""
    found = nothing()
    n = len(labels)
    subject = replace(found.subject, labels=torch.tensor(labels + [0] * (len(found.subject) - n)))
    square = torch.ones(n, n)
    batch = replace(found.batch, rows=torch.arange(n), plan=square, push=square, similarity=square)
    runs = payload(replace(found, subject=subject, batch=batch))["batch"]["classes"]
    return [(run["start"], run["end"]) for run in runs]


def test_of_many_labels_only_the_long_ones_are_marked():
    assert _marked(list(range(30))) == [(row, row + 1) for row in range(30)]
    assert _marked(list(range(31))) == []
    several = [0, 0, 0, *range(1, 31), 31, 31, 32, 32, 32, 32]
    assert _marked(several) == [(0, 3), (35, 39)]
    assert len(_marked([row // 3 for row in range(105)])) == 30


def test_the_bound_of_hubs_is_said():
    found = nothing()
    even = found.survey._replace(mass=torch.ones(120))
    text = page(replace(found, survey=even, hubs=torch.empty(0, dtype=torch.long))).decode()
    assert "no row pushes more than 1.05 times as hard as the average row" in text


@pytest.mark.parametrize(
    ("label", "words"), [("0", "label 0"), ("-1.5", "label -1.5"), ("cat", "cat"), ("3rd", "3rd"), ("", "")]
)
def test_labels_that_are_numbers_say_so(label, words):
    assert label_words(label, 60) == words


def test_cards_and_tables_say_that_numbers_are_labels():
    found = nothing()
    numbered = replace(found, subject=replace(found.subject, labels=torch.arange(120) % 3))
    assert payload(numbered)["classes"] == ["label 0", "label 1", "label 2"]
    assert " (label 2)</bdi>" in page(numbered).decode()


@pytest.mark.parametrize("name", ["infonce", "a loss of such a name as is seen nowhere"])
def test_the_legend_of_responses_begins_at_the_left(name):
    found = nothing()
    chart = responses(
        replace(found, responses=dict.fromkeys([name, f"{name} 2", f"{name} 3"], *found.responses.values()))
    )
    svg = b64decode(chart.uri.partition(",")[2]).decode()
    width = float(re.search(r'viewBox="0 0 ([0-9.]+)', svg)[1])
    places = re.findall(r"translate\(([0-9.]+) [0-9.]+\) scale", svg.partition('id="legend_1"')[2])
    assert len(places) >= 3
    assert max(map(float, places)) < 0.4 * width


def test_a_table_that_is_not_written_is_not_named(monkeypatch):
    assert b"rows.parquet" in page_of_nothing()
    monkeypatch.setattr("couplings.inspection.page.find_spec", lambda name: None)
    whole = page(nothing())
    assert b"rows.csv" in whole
    assert b"rows.parquet" not in whole
