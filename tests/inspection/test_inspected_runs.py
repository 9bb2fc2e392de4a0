"""The embeddings of runs and of folders of images: which vectors, and what rows are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from couplings.inspection import inspect
from couplings.inspection.arrays import Keys, read_arrays
from couplings.inspection.files import numbers, tables
from couplings.inspection.runs import Where, folder_subject, is_run, run_subject
from couplings.train import Run, Silent, fit, load, preset, train, with_overrides
from couplings.train.data import to_images
from couplings.train.embed_file import Part, embed_dataset, write_embeddings
from couplings.train.errors import ConfigError, DataError
from couplings.train.exclusions import read_exclusions
from couplings.train.export import export

_LIMIT = 60
_SMALL = {"steps": 2, "batch_size": 16, "encoder.width": 4, "projector.hidden": 8, "projector.dim": 8}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """80 images, of which four are copies of others."""
    found = np.random.default_rng(0).integers(0, 256, (80, 8, 8), dtype=np.uint8)
    found[[70, 71]], found[[5, 6]] = found[[10, 11]], found[[40, 41]]
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> tuple[Run, Run]:
    """Two short runs on an .npz file: on all of its images, and on a part of them."""
    folder = tmp_path_factory.mktemp("trained")
    np.savez(folder / "images.npz", images=pixels, labels=np.arange(80) % 3)
    whole = with_overrides(preset("npz"), {**_SMALL, "data.folder": folder / "images.npz", "data.test_fraction": 0.05})
    part = with_overrides(whole, {"data.limit": _LIMIT})
    return train(whole, folder / "whole", Silent()), train(part, folder / "part", Silent())


def test_a_run_knows_itself(trained: tuple[Run, Run]) -> None:
    run = trained[0]
    found = run_subject(run)
    assert is_run(run.folder)
    assert not is_run(run.folder.parent)
    assert len(found) == len(run.dataset.train_images)
    assert found.labels is not None
    assert torch.equal(found.labels, run.dataset.train_labels)  # type: ignore[arg-type]
    assert [record["step"] for record in found.history] == [record["step"] for record in run.metrics()]
    assert found.pictures is not None
    assert found.pictures([0])[0].startswith(b"\x89PNG")


def test_views_are_fresh_and_the_samples_are_as_they_are(trained: tuple[Run, Run]) -> None:
    run = trained[0]
    found = run_subject(run, Where.FEATURES)
    torch.testing.assert_close(found.samples, run.embed(run.dataset.train_images))
    assert found.positives is not None
    assert not torch.equal(found.embeddings, found.positives)
    assert not torch.equal(found.embeddings, found.samples)
    assert found.embeddings.shape[1] != run_subject(run).embeddings.shape[1] == 8


@pytest.mark.parametrize("which", [0, 1], ids=["whole", "part"])
@pytest.mark.parametrize("where", Where)
def test_copies_are_named_as_the_training_names_them(
    trained: tuple[Run, Run], pixels: np.ndarray, which: int, where: Where
) -> None:
    """By their place among the training images before any were left out."""
    run = trained[which]
    everything = trained[0].dataset.train_images
    copies = {
        (i, j)
        for i in range(len(everything))
        for j in range(i + 1, len(everything))
        if torch.equal(everything[i], everything[j])
    }
    subject = run_subject(run, where)
    seen = set(subject.named(torch.arange(len(subject))).tolist())
    expected = {pair for pair in copies if seen.issuperset(pair)}
    found = numbers(inspect(subject, {"infonce": run.loss}))
    assert expected
    assert {tuple(sorted(pair)) for *pair, _ in found["duplicates"]} == expected


def test_a_limited_run_names_the_rows_of_its_source(trained: tuple[Run, Run], pixels: np.ndarray) -> None:
    run = trained[1]
    found = run_subject(run)
    assert len(found) == _LIMIT
    assert found.numbers is not None
    assert torch.equal(trained[0].dataset.train_images[found.numbers], run.dataset.train_images)
    # Its place in the file, of which a part was held out before.
    place = int(found.id_of(7).removeprefix("images/"))
    assert torch.equal(torch.from_numpy(pixels[place]), run.dataset.train_images[7, 0])


def test_images_given_in_python_are_gone() -> None:
    run = fit(torch.randint(256, (32, 8, 8)), observer=Silent(), **_SMALL)
    with pytest.raises(ConfigError, match="given in Python; write its features"):
        run_subject(run)


def _pictures(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), size: int = 8) -> Path:
    for number in range(12):
        file = folder / classes[number % len(classes)] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(number).integers(0, 256, (size, size), dtype=np.uint8)
        Image.fromarray(image).save(file)
    return folder


@pytest.mark.parametrize("exported", [False, True], ids=["run", "export"])
def test_a_folder_of_images_in_classes(trained: tuple[Run, Run], tmp_path: Path, exported: bool) -> None:
    encoder = trained[0].folder
    if exported:
        encoder = tmp_path / "export"
        export(trained[0], encoder, onnx=False)
    told: list[float] = []
    found = folder_subject(_pictures(tmp_path / "images"), encoder, None, told.append)
    assert (found.classes, sorted(found.labels.tolist())) == (("cat", "dog"), [0] * 6 + [1] * 6)  # type: ignore[union-attr]
    assert found.ids is not None
    assert set(found.ids) == {f"{'cat' if number % 2 == 0 else 'dog'}/{number}.png" for number in range(12)}
    image = to_images(np.asarray(Image.open(tmp_path / "images" / found.ids[3]))[None])
    torch.testing.assert_close(found.embeddings[3:4], trained[0].embed(image), rtol=1e-4, atol=1e-5)
    assert found.label_of(3) == found.ids[3].split("/")[0]
    assert told[-1] == 1


@pytest.fixture(scope="module")
def on_files(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a folder of 40 pictures; of some there are copies, of one 70."""
    folder = tmp_path_factory.mktemp("files") / "pictures"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
    for number in range(120):
        seed = 0 if number >= 50 else number % 40
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("cat", "dog")[number % 2] / f"{number}.png")
    config = with_overrides(preset("images"), {**_SMALL, "data.folder": folder})
    return train(config, folder.parent / "run", Silent())


@pytest.mark.parametrize("way", ["the folder", "the run", "its features"])
def test_what_is_found_is_excluded_from_training(way: str, on_files: Run, tmp_path: Path) -> None:
    """All copies that are trained on, and nothing else, whatever numbers the inspected rows had."""
    config = on_files.config.data
    assert config.folder is not None
    if way == "the folder":
        subject = folder_subject(config.folder, on_files.folder)
    elif way == "the run":
        subject = run_subject(on_files, Where.FEATURES)
    else:
        write_embeddings(tmp_path / "e.npz", embed_dataset(on_files, load(config), [Part.TEST, Part.TRAIN]))
        subject = read_arrays(tmp_path / "e.npz", Keys())
    path = tmp_path / "duplicates.csv"
    path.write_bytes(tables(inspect(subject, {"infonce": on_files.loss}))[path.name])
    data = load(config)
    rows = torch.arange(len(data.train_images))
    mask = read_exclusions(path, data).exclusions.mask(rows, rows)
    assert mask is not None
    pixels = data.train_images.flatten(1)
    alike = (pixels[:, None] == pixels).all(2).fill_diagonal_(False)
    assert alike.sum() > 2 * 1000
    assert torch.equal(mask.forbidden(), alike)


def test_rows_of_a_file_without_ids_are_no_images(on_files: Run, tmp_path: Path) -> None:
    """Features that somebody made of the pictures, in another order perhaps."""
    data = load(on_files.config.data)
    np.savez(tmp_path / "z.npz", z=on_files.embed(data.train_images).numpy())
    path = tmp_path / "duplicates.csv"
    path.write_bytes(tables(inspect(read_arrays(tmp_path / "z.npz", Keys()), {"infonce": on_files.loss}))[path.name])
    with pytest.raises(
        DataError, match=r"no image of the data is called 'z\.npz/\d+'.*or drop the columns id_a and id_b"
    ):
        read_exclusions(path, data)


def test_the_parts_of_a_folder_are_no_classes(trained: tuple[Run, Run], tmp_path: Path) -> None:
    for part in ("train", "test"):
        _pictures(tmp_path / "images" / part)
    found = folder_subject(tmp_path / "images", trained[0].folder)
    assert (len(found), found.classes) == (24, ("cat", "dog"))
    assert found.ids is not None
    assert {name.split("/")[0] for name in found.ids} == {"train", "test"}
    assert [found.label_of(row) for row in range(24)] == [name.split("/")[1] for name in found.ids]


def test_an_export_knows_the_size_of_its_images(trained: tuple[Run, Run], tmp_path: Path) -> None:
    export(trained[0], tmp_path / "export", onnx=False)
    pictures = _pictures(tmp_path / "images", size=11)
    found = [folder_subject(pictures, encoder).embeddings for encoder in (tmp_path / "export", trained[0].folder)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_grey_images_are_taken_for_colour_and_not_the_reverse(trained: tuple[Run, Run], tmp_path: Path) -> None:
    grey = _pictures(tmp_path / "grey")
    with Image.open(grey / "cat" / "0.png") as image:
        (tmp_path / "colour").mkdir()
        image.convert("RGB").save(tmp_path / "colour" / "0.png")
    with pytest.raises(DataError, match=r"trained on grey images, and these have colours"):
        folder_subject(tmp_path / "colour", trained[0].folder)
    np.savez(tmp_path / "rgb.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8))
    config = with_overrides(preset("npz"), {**_SMALL, "data.folder": tmp_path / "rgb.npz"})
    run = train(config, tmp_path / "run", Silent())
    found = folder_subject(grey, run.folder)
    with Image.open(grey / "cat" / "0.png") as image:
        expected = run.embed(np.asarray(image.convert("RGB"))[None])
    torch.testing.assert_close(found.embeddings[:1], expected, rtol=1e-4, atol=1e-5)


def test_a_folder_of_images_alone(trained: tuple[Run, Run], tmp_path: Path) -> None:
    found = folder_subject(_pictures(tmp_path / "images", ("",), size=16), trained[0].folder)
    assert (found.labels, found.classes) == (None, ())
    assert found.embeddings.shape[0] == 12


def test_an_encoder_that_is_none(tmp_path: Path, trained: tuple[Run, Run]) -> None:
    with pytest.raises(ConfigError, match="is neither a run nor an export"):
        folder_subject(_pictures(tmp_path / "images"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        folder_subject(tmp_path / "empty", trained[0].folder)


def test_images_that_moved(trained: tuple[Run, Run], tmp_path: Path) -> None:
    run = trained[0]
    assert run.config.data.folder is not None
    shutil.copy(run.config.data.folder, tmp_path / "moved.npz")
    moved = run.config.data.model_copy(update={"folder": tmp_path / "moved.npz"})
    torch.testing.assert_close(run_subject(run, images=moved).embeddings, run_subject(run).embeddings)
    gone = run.config.data.model_copy(update={"folder": tmp_path / "gone.npz"})
    with pytest.raises(DataError, match=r"gone\.npz"):
        run_subject(run, images=gone)
