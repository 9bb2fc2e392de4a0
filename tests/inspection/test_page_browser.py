from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from inspected import HOSTILE, everything, page_of_everything, page_of_nothing
from playwright.sync_api import Browser, Page, expect, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium is not None, "no chromium on the PATH: make chromium (apt-get install chromium)"
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pages")
    (made / "everything.html").write_bytes(page_of_everything())
    (made / "nothing.html").write_bytes(page_of_nothing())
    return made


@pytest.fixture
def opened(browser, folder) -> Iterator[Page]:
    """The page of everything; whatever it must not do fails the test."""
    yield from _watched(browser, folder / "everything.html")


@pytest.fixture
def bare(browser, folder) -> Iterator[Page]:
    yield from _watched(browser, folder / "nothing.html")


def _watched(browser: Browser, path) -> Iterator[Page]:
    context, said = browser.new_context(viewport={"width": 1280, "height": 900}), []
    tab = context.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    tab.on("request", lambda request: request.url.startswith(("data:", "file:")) or said.append(request.url))
    tab.goto(path.as_uri())
    yield tab
    context.close()
    assert said == []


def _cell(tab: Page, row: int, column: int) -> dict[str, float]:
    """The middle of a cell of the heat map, from the corner of its canvas; the names beside it take 110 pixels."""
    side = tab.locator("#heat").bounding_box()["width"] - 114
    n = len(everything().batch.rows)
    return {"x": 110 + (column + 0.5) * side / n, "y": (row + 0.5) * side / n}


def _ids(row: int, column: int) -> list[str]:
    found = everything()
    return [_shown(found.subject.ids[int(found.batch.rows[place])]) for place in (row, column)]


def _shown(text: str) -> str:
    """Words as they are on the page."""
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= 80 else f"{clean[:79]}…"


def _names(tab: Page, inside: str) -> list[str]:
    return [one.text_content() for one in tab.locator(f"{inside} .name").all()]


def test_a_click_keeps_a_cell_and_shows_its_pair(opened):
    opened.locator("#heat").click(position=_cell(opened, 3, 17))
    assert _names(opened, "#heat-detail") == _ids(3, 17)
    found = everything().batch
    numbers = opened.locator("#heat-detail .numbers dd").all_text_contents()
    assert float(numbers[0].split()[0]) == pytest.approx(found.push[3, 17].item(), rel=5e-3)
    assert float(numbers[1].split()[0]) == pytest.approx(found.plan[3, 17].item(), rel=5e-3)
    assert float(numbers[2]) == pytest.approx(found.similarity[3, 17].item(), abs=5e-3)
    opened.locator("#heat").hover(position=_cell(opened, 9, 2))
    assert _names(opened, "#heat-detail") == _ids(3, 17)
    assert "Kept" in opened.locator("#heat-detail .state").text_content()


def test_a_hover_shows_a_cell(opened):
    opened.locator("#heat").hover(position=_cell(opened, 9, 2))
    assert _names(opened, "#heat-detail") == _ids(9, 2)
    opened.locator("#heat").hover(position=_cell(opened, 5, 5))
    assert _names(opened, "#heat-detail") == _ids(5, 5)[:1]


def test_the_heat_map_is_walked_by_keyboard(opened):
    heat, detail = opened.locator("#heat"), opened.locator("#heat-detail")
    heat.hover(position=_cell(opened, 4, 8))
    heat.focus()
    heat.press("ArrowRight")
    heat.press("ArrowDown")
    assert _names(opened, "#heat-detail") == _ids(5, 9)
    heat.press("Shift+ArrowRight")
    assert _names(opened, "#heat-detail") == _ids(5, 19)
    heat.press("Enter")
    assert "kept" in detail.get_attribute("class")
    assert "; kept" in opened.locator("#heat-said").text_content()
    heat.press("Escape")
    assert "kept" not in detail.get_attribute("class")
    assert _ids(5, 19)[0] in opened.locator("#heat-said").text_content()


def test_the_matrix_is_switched(opened):
    bar, heat = opened.locator("#heat-scale"), opened.locator("#heat")
    for name, words in (("plan", "mass of the plan"), ("similarity", "cosine similarity"), ("push", "push apart")):
        before = heat.evaluate("canvas => canvas.toDataURL()")
        opened.check(f"input[name=matrix][value={name}]")
        assert words in bar.text_content()
        assert words in heat.get_attribute("aria-label")
        assert heat.evaluate("canvas => canvas.toDataURL()") != before


def test_the_gallery_is_filtered_and_sorted(opened):
    gallery = everything().gallery
    cards, shown = opened.locator("#pairs > li:visible"), opened.locator("#shown")
    assert shown.text_content() == f"{len(gallery)} of {len(gallery)} shown"
    opened.uncheck("input[value=duplicate]")
    left = [one for one in gallery if one.kind.value != "duplicate"]
    assert 0 < len(left) < len(gallery)
    assert cards.count() == len(left)
    assert shown.text_content() == f"{len(left)} of {len(gallery)} shown"
    opened.select_option("select[name=order]", "similarity")
    nearest = max(left, key=lambda one: one.similarity)
    names = _names(opened, "#pairs > li:not([hidden])")
    assert names[:2] == [_shown(everything().subject.ids[row]) for row in nearest.pair]


def test_the_gallery_is_filtered_by_labels_and_words(opened):
    found = everything()
    known = [one for one in found.gallery if found.subject.labels[list(one.pair)].min() >= 0]
    different = sum(len(set(found.subject.labels[list(one.pair)].tolist())) == 2 for one in known)
    opened.select_option("select[name=relation]", "different")
    assert opened.locator("#pairs > li:visible").count() == different
    opened.select_option("select[name=relation]", "")
    row = found.gallery[0].pair[0]
    opened.fill("input[name=words]", f"SAID {row}")
    wanted = sum(any(f"said {row}" in found.subject.texts[end] for end in one.pair) for one in found.gallery)
    assert 0 < wanted < len(found.gallery)
    assert opened.locator("#pairs > li:visible").count() == wanted


def test_the_map_changes_its_colours(opened):
    plane, legend, scale = opened.locator("#plane"), opened.locator("#legend button"), opened.locator("#plane-scale")
    assert legend.count() == 11
    assert scale.is_hidden()
    seen = {plane.evaluate("canvas => canvas.toDataURL()")}
    legend.first.click()
    assert legend.first.get_attribute("aria-pressed") == "true"
    seen.add(plane.evaluate("canvas => canvas.toDataURL()"))
    for name in ("mass", "suspicion"):
        opened.check(f"input[name=colour][value={name}]")
        assert scale.is_visible()
        assert name in scale.text_content()
        assert legend.count() == 0
        seen.add(plane.evaluate("canvas => canvas.toDataURL()"))
    assert len(seen) == 4


def test_the_map_is_walked_by_keyboard(opened):
    plane = opened.locator("#plane")
    plane.focus()
    before = opened.locator("#plane-detail").text_content()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        plane.press(key)
    assert opened.locator("#plane-detail").text_content() != before
    plane.press("Enter")
    assert "; kept" in opened.locator("#plane-said").text_content()


def test_rows_that_fail_and_hubs_have_cards(opened):
    found = everything()
    assert opened.locator("#failing-rows > li").count() == len(found.failing_positives[:60])
    assert _names(opened, "#hub-rows") == [_shown(found.subject.ids[row]) for row in found.hubs.tolist()]


def test_hostile_words_are_shown_as_text(opened):
    assert "<script>alert(0)</script>" in opened.locator("h1").text_content()
    texts = " ".join(opened.locator("#pairs .text").all_text_contents())
    names = " ".join(opened.locator("#legend .datum").all_text_contents())
    assert "said" in texts
    for words in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], HOSTILE[4]):
        assert words in names
    assert opened.locator("script").count() == 2
    assert opened.locator("[onerror], iframe, object, embed, link").count() == 0


def test_pictures_are_shown(opened):
    card = opened.locator("#pairs > li").first
    card.scroll_into_view_if_needed()
    expect(opened.locator("#pairs img").first).to_have_js_property("naturalWidth", 12)
    assert "Picture of" in card.locator("img").first.get_attribute("alt")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark(opened, scheme):
    opened.emulate_media(color_scheme=scheme)
    ratios = opened.evaluate(_CONTRASTS)
    assert len(ratios) > 100
    assert min(ratios.values()) >= 4.5, sorted(ratios.items(), key=lambda one: one[1])[:5]
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]


_CONTRASTS = """() => {
  const parts = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colour = parts(getComputedStyle(element).backgroundColor);
    return colour.length === 4 && colour[3] === 0 ? behind(element.parentElement) : colour;
  };
  const found = {};
  document.querySelectorAll("body *").forEach((element, place) => {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || ["SCRIPT", "CANVAS", "OPTION"].includes(element.tagName)) return;
    const [one, other] = [light(parts(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    found[`${element.tagName} ${element.className} ${place}`] = (one + 0.05) / (other + 0.05);
  });
  return found;
}"""


def test_everything_is_on_paper(opened):
    opened.emulate_media(media="print")
    assert opened.locator("#filters").is_hidden()
    hidden = opened.evaluate(
        "[...document.querySelectorAll('.cards')].filter(list => list.scrollHeight > list.clientHeight + 1).length"
    )
    assert hidden == 0
    assert opened.locator("#pairs > li:visible").count() == len(everything().gallery)
    assert len(_names(opened, "#heat-detail")) == 2
    assert opened.evaluate("getComputedStyle(document.querySelector('#pairs > li')).breakInside") == "avoid"


def test_nothing_is_wider_than_a_phone(opened):
    opened.set_viewport_size({"width": 420, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 420
    width = opened.locator("#heat").bounding_box()["width"]
    assert width < 400


def test_vectors_alone_make_a_page_that_works(bare):
    assert bare.locator("#pairs > li").count() > 0
    bare.locator("#heat").click(position={"x": 60, "y": 40})
    assert "Kept" in bare.locator("#heat-detail .state").text_content()
    assert bare.locator("#legend button").count() == 0
    assert "mass" in bare.locator("#plane-scale").text_content()
