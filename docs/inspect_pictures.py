"""Makes docs/images/inspect-*.png: the page of an inspection of Fashion-MNIST's test images, in Chromium.

Run `python docs/inspect_pictures.py RUN` after changing the page, with RUN the folder of a run on Fashion-MNIST.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from couplings.inspection import Settings, Subject, inspect
from couplings.inspection.arrays import pictures_of
from couplings.inspection.page import page
from couplings.losses import LOSSES
from couplings.train import Run, load

IMAGES = Path(__file__).parent / "images"
LOSS_NAMES = ("infonce", "hcl", "hcl-ot", "gca-ince", "cacr")


def inspected(run: Run) -> bytes:
    """The page of the features of the test images."""
    data = load(run.config.data)
    images, labels = data.test_images, data.test_labels
    pictures = pictures_of(images.permute(0, 2, 3, 1).numpy())
    subject = Subject(
        "fashion-mnist-test.npz", run.embed(images), labels=labels, classes=data.classes, pictures=pictures
    )
    return page(inspect(subject, {name: LOSSES[name]() for name in LOSS_NAMES}, Settings(rounds=2)))


def opened(browser: Browser, path: Path, scheme: str) -> Page:
    """The page in a light or dark scheme."""
    context = browser.new_context(
        viewport={"width": 1180, "height": 900},
        color_scheme=scheme,
        device_scale_factor=1.5,  # type: ignore[arg-type]
    )
    tab = context.new_page()
    tab.goto(path.as_uri())
    return tab


def shoot(tab: Page, name: str, *sections: str, most: float = 1e9) -> None:
    """Some sections, from the top of the first to the end of the last."""
    # Pictures are loaded when they come into view.
    tab.locator(sections[-1]).scroll_into_view_if_needed()
    tab.wait_for_timeout(500)
    scrolled = tab.evaluate("scrollY")
    boxes = [box for box in (tab.locator(each).bounding_box() for each in sections) if box is not None]
    top = boxes[0]["y"] + scrolled
    height = min(max(box["y"] + box["height"] for box in boxes) + scrolled - top + 24, most)
    path = IMAGES / f"inspect-{name}.png"
    tab.screenshot(path=path, full_page=True, clip={"x": 0, "y": max(0, top - 12), "width": 1180, "height": height})
    Image.open(path).convert("RGB").save(path, optimize=True)


def shoot_all(browser: Browser, path: Path) -> None:
    """Summary, batch with a kept cell, filtered gallery; the map in the dark."""
    tab = opened(browser, path, "light")
    shoot(tab, "summary", "header.top", "#summary")
    tab.focus("#heat")
    tab.keyboard.press("Enter")
    shoot(tab, "batch", "#batch")
    tab.uncheck("input[value=duplicate]")
    tab.select_option("select[name=relation]", "different")
    shoot(tab, "gallery", "#gallery", most=760)
    tab = opened(browser, path, "dark")
    tab.check("input[name=colour][value=label]")
    shoot(tab, "map-dark", "#map")


def main() -> None:
    """Inspect, open, take the pictures."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("run", type=Path)
    with TemporaryDirectory() as folder, sync_playwright() as play:
        path = Path(folder) / "inspection.html"
        path.write_bytes(inspected(Run.load(words.parse_args().run)))
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shoot_all(browser, path)
        browser.close()


if __name__ == "__main__":
    main()
