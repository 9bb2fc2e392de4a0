"""Every picture is a readable PNG, refuses what it cannot draw, and never leaves half a file."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from couplings import InfoNCE
from couplings.report import coupling_picture, curves, embedding_map
from couplings.report.coupling import _Batch, _heaviest


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def distinct_colours(path: Path) -> int:
    with Image.open(path) as picture:
        return len(picture.convert("RGB").getcolors(1 << 24))


def capture(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are saved."""
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    return drawn


class TestCurves:
    def test_draws_what_was_measured(self, tmp_path: Path) -> None:
        records = [{"step": t, "loss": 1 / t} for t in range(1, 60)] + [{"step": 60, "alignment": 0.5}]
        curves(records, tmp_path / "new" / "curves.png")
        width, height = size(tmp_path / "new" / "curves.png")
        assert width > height > 300

    def test_one_line_a_plan(self, tmp_path: Path) -> None:
        one = [{"step": t, "plan_entropy": {"a": t}} for t in range(5)]
        two = [{"step": t, "plan_entropy": {"a": t, "b": 2 * t}} for t in range(5)]
        curves(one, tmp_path / "one.png")
        curves(two, tmp_path / "two.png")
        assert distinct_colours(tmp_path / "two.png") > distinct_colours(tmp_path / "one.png")

    def test_nothing_lies_on_a_curve_or_in_a_title(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = capture(monkeypatch)
        names = ("loss", "alignment", "uniformity", "plan_entropy")
        curves([{"step": t, **dict.fromkeys(names, 1 / t)} for t in range(1, 9)], tmp_path / "c.png")
        (figure,) = drawn
        figure.draw_without_rendering()
        for axes in figure.axes:
            label, panel = axes.yaxis.label.get_window_extent(), axes.get_window_extent()
            assert panel.y0 - 3 <= label.y0 < label.y1 <= panel.y1 + 3
            (end,) = axes.texts
            last = axes.transData.transform(axes.lines[-1].get_xydata()[-1])
            assert end.get_window_extent().x0 > last[0]

    @pytest.mark.parametrize("records", [[], [{"step": 1, "lr": 0.1}]])
    def test_nothing_to_draw(self, records: list[dict[str, float]], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="metrics"):
            curves(records, tmp_path / "curves.png")
        assert not list(tmp_path.iterdir())


class TestCouplingPicture:
    def test_of_a_loss(self, tmp_path: Path) -> None:
        first, second = torch.randn(12, 5), torch.randn(12, 5)
        loss = InfoNCE()
        plan = loss.coupling(first, second)["plan"].plan()
        weights = loss.pair_weights(first, second)
        labels, images = torch.arange(24) % 3, torch.rand(24, 1, 8, 8)
        coupling_picture(plan, weights, tmp_path / "plain.png")
        coupling_picture(plan, weights, tmp_path / "full.png", labels, images, torch.arange(24) % 12)
        assert size(tmp_path / "full.png")[0] > size(tmp_path / "plain.png")[0]

    def test_a_plan_between_two_views(self, tmp_path: Path) -> None:
        coupling_picture(torch.rand(4, 4), torch.randn(8, 8), tmp_path / "c.png", labels=torch.arange(8) % 2)
        assert size(tmp_path / "c.png")[0] > 600

    def test_no_repulsion_at_all(self, tmp_path: Path) -> None:
        coupling_picture(torch.eye(4), -torch.eye(4), tmp_path / "c.png", images=torch.rand(4, 3, 8, 8))
        assert size(tmp_path / "c.png")[0] > 600

    @pytest.mark.parametrize(
        ("plan", "weights", "labels", "word"),
        [
            (torch.rand(9, 9), torch.rand(8, 8), None, "plan"),
            (torch.rand(8, 8), torch.rand(8, 7), None, "weights"),
            (torch.rand(8), torch.rand(8, 8), None, "plan"),
            (torch.rand(8, 8), torch.rand(8, 8), torch.arange(4), "labels"),
        ],
    )
    def test_refuses_shapes(
        self, plan: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor | None, word: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=word):
            coupling_picture(plan, weights, tmp_path / "c.png", labels=labels)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(("count", "names"), [(3, ["ant", "bee", "cat"]), (13, [str(k) for k in range(13)])])
    def test_few_classes_are_named_on_the_axes(
        self, count: int, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn = capture(monkeypatch)
        classes = ("ant", "bee", "cat", *"defghijklm")
        labels = torch.arange(26) % count
        coupling_picture(torch.rand(26, 26), torch.randn(26, 26), tmp_path / "c.png", labels=labels, classes=classes)
        for axes in [axes for axes in drawn[0].axes if axes.images]:
            assert [tick.get_text() for tick in axes.get_yticklabels()] == names
            assert [tick.get_text() for tick in axes.get_xticklabels()] == names

    def test_a_pair_of_samples_is_shown_once(self) -> None:
        weights = np.zeros((4, 4))
        weights[0, 1], weights[2, 3], weights[0, 3], weights[1, 2] = 3.0, 2.9, 2.8, -5.0
        weights[0, 2] = 1.0
        batch = _Batch(weights, labels=None, images=None, ids=np.array([0, 1, 0, 1]), classes=())
        assert _heaviest(batch) == [(0, 1), (0, 2)]


class TestEmbeddingMap:
    def test_with_and_without_labels(self, tmp_path: Path) -> None:
        features = torch.randn(40, 6)
        embedding_map(features, None, tmp_path / "plain.png")
        embedding_map(features, torch.arange(40) % 4, tmp_path / "classes.png")
        assert distinct_colours(tmp_path / "classes.png") > distinct_colours(tmp_path / "plain.png")

    @pytest.mark.parametrize(
        ("features", "labels", "word"),
        [(torch.randn(2, 6), None, "features"), (torch.randn(9), None, "features"), (torch.randn(9, 3), [0], "labels")],
    )
    def test_refuses_shapes(self, features: torch.Tensor, labels: list[int] | None, word: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=word):
            embedding_map(features, labels, tmp_path / "map.png")


def test_a_failed_save_keeps_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.png"
    embedding_map(torch.randn(9, 3), None, path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full") as failure:
        embedding_map(torch.randn(9, 3), None, path)
    assert failure.value.filename == str(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.png"]
