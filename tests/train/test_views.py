from __future__ import annotations

import colorsys
import math
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from couplings.train import ConfigError, LocalViewsConfig, ViewsConfig
from couplings.train.views import Views
from couplings.train.warp import Frame, affine_maps, draws, frames

STILL = {"crop": (1.0, 1.0), "aspect": (1.0, 1.0)}


def _view(images: torch.Tensor, seed: int = 0, **settings: object) -> torch.Tensor:
    views = Views(ViewsConfig(**{**STILL, **settings}), images.shape[1])
    return views(images, torch.Generator().manual_seed(seed))[0]


@pytest.fixture
def photos() -> torch.Tensor:
    return torch.randint(256, (6, 3, 10, 14), dtype=torch.uint8)


def test_without_augmentation_a_view_is_the_image(photos: torch.Tensor) -> None:
    torch.testing.assert_close(_view(photos), photos.float() / 255, atol=1e-5, rtol=0)


def test_a_sure_flip_is_a_mirror(photos: torch.Tensor) -> None:
    torch.testing.assert_close(_view(photos, flip=1.0), photos.flip(3).float() / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_views_differ_from_each_other_and_between_images(count: int) -> None:
    same = torch.rand(1, 1, 8, 8).expand(4, -1, -1, -1)
    views = Views(ViewsConfig(count=count, rotation=20, gamma=0.3), 1)(same, torch.Generator().manual_seed(0))
    assert len(views) == count
    assert len({bytes(row.numpy().tobytes()) for view in views for row in view}) == 4 * count


def test_views_are_seeded_and_leave_the_global_generator_alone(photos: torch.Tensor) -> None:
    settings = {"crop": (0.3, 1.0), "rotation": 30.0, "hue": 0.1, "grayscale": 0.5, "blur": 0.5, "contrast": 0.3}
    before = torch.get_rng_state()
    first = _view(photos, seed=1, **settings)
    assert torch.equal(first, _view(photos, seed=1, **settings))
    assert not torch.equal(first, _view(photos, seed=2, **settings))
    assert torch.equal(before, torch.get_rng_state())


def _one_at_a_time(images: torch.Tensor, config: ViewsConfig, generator: torch.Generator) -> list[torch.Tensor]:
    """Views drawn one after the other with torch's own affine_grid, pow and lerp."""

    def draw(low: float, high: float) -> torch.Tensor:
        return torch.rand(len(images), generator=generator) * (high - low) + low

    def each(low: float, high: float) -> torch.Tensor:
        return draw(low, high)[:, None, None, None]

    views = []
    for _ in range(config.count):
        maps = affine_maps(config, frames(config, images)[0], draw, images.shape[2] / images.shape[3])
        grid = F.affine_grid(maps, images.shape, False)
        view = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        view = view.clamp(0, 1).pow(each(-config.gamma, config.gamma).exp())
        view = torch.lerp(view.mean((1, 2, 3), keepdim=True), view, each(1 - config.contrast, 1 + config.contrast))
        views.append((view + each(-config.brightness, config.brightness)).clamp(0, 1))
    return views


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_drawing_all_views_at_once_gives_what_drawing_one_after_the_other_does(count: int, channels: int) -> None:
    config = ViewsConfig(count=count, crop=(0.3, 1.0), rotation=30, flip=0.5, gamma=0.4, contrast=0.4, brightness=0.2)
    images = torch.randint(256, (7, channels, 10, 14), dtype=torch.uint8)
    images[:, :, :3] = 0
    views = Views(config, channels)(images, torch.Generator().manual_seed(3))
    expected = _one_at_a_time(images.float() / 255, config, torch.Generator().manual_seed(3))
    torch.testing.assert_close(list(views), expected, atol=2e-5, rtol=0)


def test_each_view_of_an_image_draws_each_operation_for_itself() -> None:
    config = {"saturation": 0.4, "hue": 0.1, "grayscale": 0.5, "blur": 0.5, "gamma": 0.3, "contrast": 0.3}
    photo = torch.rand(1, 3, 8, 8).expand(5, -1, -1, -1)
    for name, strength in config.items():
        views = Views(ViewsConfig(**STILL, **{name: strength}), 3)(photo, torch.Generator().manual_seed(0))
        assert len({bytes(row.numpy().tobytes()) for view in views for row in view}) > 1, name


def test_images_are_left_as_they_are() -> None:
    images = torch.rand(4, 1, 8, 8)
    before = images.clone()
    _view(images, gamma=0.4, contrast=0.4, brightness=0.2)
    assert torch.equal(images, before)


def test_crops_have_the_area_and_aspect_asked_for_and_stay_inside() -> None:
    config = ViewsConfig(crop=(0.2, 0.5), aspect=(0.5, 2.0), flip=0.5)
    draw = draws(1, 6, 2000, torch.Generator().manual_seed(0))
    maps = affine_maps(config, Frame(config.crop, (8, 8)), draw, 1.0)
    width, height = maps[:, 0, 0].abs(), maps[:, 1, 1]
    area, inside = width * height, (width < 1) & (height < 1)
    assert 0.2 - 1e-6 <= area[inside].min() < 0.21
    assert 0.49 < area[inside].max() <= 0.5 + 1e-6
    assert (width / height).max() <= 2 + 1e-5
    assert (width / height).min() >= 0.5 - 1e-5
    assert (maps[:, 0, 2].abs() + width).max() <= 1 + 1e-6
    assert (maps[:, 1, 2].abs() + height).max() <= 1 + 1e-6
    assert 900 < (maps[:, 0, 0] < 0).sum() < 1100


def test_rotation_keeps_lengths_and_angles_in_pixels() -> None:
    config = ViewsConfig(**STILL, rotation=40)
    draw = draws(1, 6, 500, torch.Generator().manual_seed(0))
    maps = affine_maps(config, Frame(config.crop, (10, 14)), draw, 10 / 14)
    # From coordinates between -1 and 1 to pixels: x times 7, y times 5.
    pixels = torch.tensor([7.0, 5.0])
    turns = maps[:, :, :2] * pixels[:, None] / pixels
    torch.testing.assert_close(turns @ turns.mT, torch.eye(2).expand(500, 2, 2), atol=1e-5, rtol=0)
    angles = torch.atan2(turns[:, 1, 0], turns[:, 0, 0])
    assert math.radians(38) < angles.max() <= math.radians(40) + 1e-5
    assert -math.radians(40) - 1e-5 <= angles.min() < -math.radians(38)


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "saturation", "hue", "grayscale", "blur"])
def test_each_colour_operation_changes_each_image_within_range(photos: torch.Tensor, name: str) -> None:
    changed = _view(photos, **{name: 1.0 if name in ("grayscale", "blur") else 0.4})
    plain = photos.float() / 255
    assert changed.shape == plain.shape
    assert (changed - plain).abs().amax((1, 2, 3)).min() > 1e-3
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_brightness_and_contrast_are_what_they_say() -> None:
    flat = torch.full((200, 1, 4, 4), 0.5)
    shift = _view(flat, brightness=0.2)[:, 0, 0, 0] - 0.5
    assert 0.19 < shift.max() <= 0.2 + 1e-6
    assert -0.2 - 1e-6 <= shift.min() < -0.19
    ramp = torch.linspace(0.3, 0.7, 16).reshape(1, 1, 4, 4).expand(200, -1, -1, -1)
    factor = _view(ramp, contrast=0.4).std((1, 2, 3)) / ramp.std((1, 2, 3))
    assert 1.38 < factor.max() <= 1.4 + 1e-4
    assert 0.6 - 1e-4 <= factor.min() < 0.62


def test_hue_saturation_and_gamma_are_what_they_say() -> None:
    colour = torch.tensor([0.6, 0.5, 0.5]).reshape(1, 3, 1, 1).expand(300, -1, 4, 4)
    turns = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in _view(colour, hue=0.2)[:, :, 0, 0].tolist()]
    assert 0.19 < max((turn + 0.5) % 1 - 0.5 for turn in turns) <= 0.2 + 1e-4
    assert -0.2 - 1e-4 <= min((turn + 0.5) % 1 - 0.5 for turn in turns) < -0.19
    stronger = _view(colour, saturation=0.4)[:, :, 0, 0]
    factor = (stronger[:, 0] - stronger[:, 1]) / 0.1
    assert 1.38 < factor.max() <= 1.4 + 1e-4
    assert 0.6 - 1e-4 <= factor.min() < 0.62
    power = (_view(colour, gamma=0.3)[:, 0, 0, 0].log() / math.log(0.6)).log()
    assert 0.29 < power.max() <= 0.3 + 1e-4
    assert -0.3 - 1e-4 <= power.min() < -0.29


def test_gray_images_have_no_colour_left(photos: torch.Tensor) -> None:
    gray = _view(photos, grayscale=1.0)
    torch.testing.assert_close(gray[:, 0], gray[:, 2])
    some = _view(photos.repeat(20, 1, 1, 1), grayscale=0.5)
    colourless = (some[:, 0] - some[:, 1]).abs().amax((1, 2)) < 1e-6
    assert 30 < colourless.sum() < 90


def test_exposure_is_a_factor_and_white_stays_white() -> None:
    flat = torch.full((300, 3, 4, 4), 0.4)
    factor = _view(flat, exposure=0.8)[:, 0, 0, 0] / 0.4
    assert 1.75 < factor.max() <= 1.8 + 1e-5
    assert 0.2 - 1e-5 <= factor.min() < 0.25
    assert _view(torch.full((50, 3, 4, 4), 0.9), exposure=0.8).max() == 1.0


def test_jitter_leaves_all_light_and_colour_of_some_views_alone() -> None:
    photos = torch.rand(1000, 3, 4, 4)
    operations = {"hue": 0.2, "saturation": 0.4, "gamma": 0.3, "contrast": 0.4, "exposure": 0.4, "brightness": 0.2}
    changed = (_view(photos, jitter=0.8, **operations) - photos).abs().amax((1, 2, 3)) > 1e-4
    # Four standard deviations of a binomial of 1,000 tries are 51; a change is never below 1e-4 by all six at once.
    assert abs(int(changed.sum()) - 800) < 51
    sure = Views(ViewsConfig(**STILL, jitter=0.0, **operations), 3)(photos, torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(sure, photos, atol=1e-5, rtol=0)


def test_what_is_jittered_is_jittered_as_without_a_probability() -> None:
    photos = torch.rand(40, 3, 6, 6)
    settings = {"hue": 0.2, "contrast": 0.4, "exposure": 0.4}
    always, mostly = _view(photos, **settings), _view(photos, jitter=0.9, **settings)
    same = (always - mostly).abs().amax((1, 2, 3)) < 1e-6
    assert int(same.sum()) > 25
    torch.testing.assert_close(mostly[~same], photos[~same], atol=1e-5, rtol=0)


def test_solarised_pixels_are_negatives_where_they_are_bright() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    expected = torch.where(levels < 128, levels, 255 - levels.int()).float() / 255
    torch.testing.assert_close(_view(levels, solarise=1.0), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["blur", "solarise"])
@pytest.mark.parametrize(
    ("given", "expected"), [((1.0, 0.0), [1, 0, 0, 0]), ((0.0, 1.0), [0, 1, 1, 1]), ((0.0, 1.0, 0.0), [0, 1, 0, 0])]
)
def test_each_view_may_have_its_own_probability(name: str, given: tuple[float, ...], expected: list[int]) -> None:
    bright = 0.6 + 0.4 * torch.rand(6, 3, 12, 12)
    local = {"count": 2, "size": 12, "crop": (1, 1)}
    views = Views(ViewsConfig(**STILL, local=local, **{name: given}), 3)(bright, torch.Generator().manual_seed(0))
    changed = [(view - bright).abs().amax((1, 2, 3)) > 1e-3 for view in views]
    assert [bool(each.all()) for each in changed] == [bool(each.any()) for each in changed] == [*map(bool, expected)]


@pytest.mark.parametrize("name", ["saturation", "hue", "grayscale"])
def test_colour_operations_on_grey_images_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"views\.{name}: the images have 1 channel and no colour"):
        Views(ViewsConfig(**{name: 0.3}), 1)


def test_blur_takes_small_images() -> None:
    assert _view(torch.rand(3, 1, 4, 4), blur=1.0).shape == (3, 1, 4, 4)


def test_kornia_is_imported_only_for_colour_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "kornia"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "kornia", None)
    grey = torch.rand(2, 1, 8, 8)
    assert _view(grey, rotation=9.0, gamma=0.2, contrast=0.2, brightness=0.2).shape == grey.shape
    with pytest.raises(ImportError):
        _view(torch.rand(2, 3, 8, 8), hue=0.2)


ALL_KINDS = {
    "hue": 0.1,
    "saturation": 0.2,
    "grayscale": 0.5,
    "gamma": 0.2,
    "contrast": 0.2,
    "exposure": 0.2,
    "jitter": 0.8,
    "blur": (0.5, 0.2),
    "solarise": (0.0, 0.4),
    "erase": 0.5,
}


def _pool(count: int = 9, side: int = 12) -> torch.Tensor:
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8)


@pytest.mark.parametrize("local", [None, {"count": 2, "size": 6}])
def test_the_views_of_one_index_are_those_of_its_images(local: dict[str, int] | None) -> None:
    views, pool = Views(ViewsConfig(local=local, **ALL_KINDS), 3), _pool()
    chosen = torch.tensor([4, 0, 7, 7])
    index = chosen.expand(views.config.total, -1)
    found = views.of(pool, index, torch.Generator().manual_seed(5))
    expected = views(pool[chosen], torch.Generator().manual_seed(5))
    assert len(found) == len(expected) == views.config.total
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_each_view_shows_the_image_that_its_row_names() -> None:
    views = Views(ViewsConfig(**STILL, local={"count": 1, "crop": (1, 1), "size": 12}), 3)
    pool, index = _pool(), torch.randint(9, (3, 5))
    for view, row in zip(views.of(pool, index, torch.Generator()), index, strict=True):
        torch.testing.assert_close(view, pool[row].float() / 255, atol=1e-5, rtol=0)


def test_an_index_without_a_row_for_each_view_is_refused() -> None:
    with pytest.raises(ValueError, match=r"index: 2 rows for 3 views; give each view its row"):
        Views(ViewsConfig(count=3), 3).of(_pool(), torch.zeros(2, 4, dtype=torch.int64), torch.Generator())


@pytest.mark.parametrize("cuts", [(0, 3, 7), (0, 0, 7), (0, 1, 2, 7)])
def test_shares_of_the_samples_together_are_all_samples(cuts: tuple[int, ...]) -> None:
    views = Views(ViewsConfig(local={"count": 2, "size": 6}, rotation=20, flip=0.5, **ALL_KINDS), 3)
    pool, index = _pool(), torch.randint(9, (4, 7))
    parts = [slice(*ends) for ends in pairwise(cuts)]

    def whole_and_shares(make: Callable[..., tuple[torch.Tensor, ...]], index: torch.Tensor) -> None:
        generators = [torch.Generator().manual_seed(2) for _ in (None, *parts)]
        whole = make(pool, index, generators[0])
        shares = [make(pool, index, *rest) for rest in zip(generators[1:], parts, strict=True)]
        for expected, found in zip(whole, zip(*shares, strict=True), strict=True):
            # Kernels may round otherwise for another number of rows.
            torch.testing.assert_close(torch.cat(found), expected, atol=1e-6, rtol=0)
        assert len({generator.get_state().numpy().tobytes() for generator in generators}) == 1

    whole_and_shares(views.of, index)
    whole_and_shares(lambda *args: (views.singles(*args),), index[0])


def test_singles_are_global_views_of_the_images_named() -> None:
    pool, index = _pool(), torch.tensor([3, 3, 8])
    still = Views(ViewsConfig(**STILL, local={"size": 6}), 3).singles(pool, index, torch.Generator())
    torch.testing.assert_close(still, pool[index].float() / 255, atol=1e-5, rtol=0)
    first, again, _ = Views(ViewsConfig(), 3).singles(pool, index, torch.Generator())
    assert not torch.equal(first, again)


def test_local_views_follow_the_global_ones_in_the_generator() -> None:
    pool, config = _pool(), ViewsConfig(rotation=20, contrast=0.3)
    alone = Views(config, 3)(pool, torch.Generator().manual_seed(1))
    more = Views(config.model_copy(update={"local": LocalViewsConfig(size=6)}), 3)(
        pool, torch.Generator().manual_seed(1)
    )
    assert all(torch.equal(*pair) for pair in zip(alone, more, strict=False))
    assert [tuple(view.shape[1:]) for view in more] == [(3, 12, 12)] * 2 + [(3, 6, 6)] * 6


def test_local_views_of_wide_images_are_square_in_pixels() -> None:
    wide = torch.rand(300, 1, 10, 20)
    config = ViewsConfig(crop=(1, 1), aspect=(1, 1), local={"crop": (0.1, 0.4), "size": 5})
    _, local = frames(config, wide)
    assert local is not None
    maps = affine_maps(config, local, draws(1, 6, 300, torch.Generator().manual_seed(0)), 0.5)
    width, height = maps[:, 0, 0] * 20, maps[:, 1, 1] * 10
    torch.testing.assert_close(width, height)
    assert 20 <= (width * height).min() < 21
    assert 79 < (width * height).max() <= 80.001


def _stripes(side: int) -> torch.Tensor:
    return (torch.arange(side) % 2).float().expand(40, 1, side, side)


@pytest.mark.parametrize(("size", "largest"), [(24, 0.25), (12, 0.15), (8, 0.1), (5, 0.1)])
def test_shrinking_to_local_views_is_antialiased(size: int, largest: float) -> None:
    """Stripes of one pixel become grey; read without care they would stay black and white somewhere."""
    config = ViewsConfig(aspect=(1, 1), local={"count": 1, "crop": (1, 1), "size": size})
    view = Views(config, 1)(_stripes(61), torch.Generator().manual_seed(0))[-1]
    assert (view - 0.5)[:, :, 1:-1, 1:-1].abs().max() < largest


def test_a_local_view_is_what_an_antialiased_resize_of_the_crop_gives() -> None:
    smooth = F.interpolate(torch.rand(8, 1, 12, 12), 48, mode="bicubic").clamp(0, 1)
    config = ViewsConfig(aspect=(1, 1), local={"count": 1, "crop": (1, 1), "size": 12})
    view = Views(config, 1)(smooth, torch.Generator())[-1]
    torch.testing.assert_close(view, F.avg_pool2d(smooth, 4), atol=0.03, rtol=0)


def _erased(images: torch.Tensor, **settings: object) -> torch.Tensor:
    """Pixels of each view that are not those of its image, ``(n, h, w)``."""
    return ((_view(images, **settings) - images).abs() > 1e-4).any(1)


def test_a_sure_erase_overwrites_one_rectangle_with_the_mean() -> None:
    images = torch.rand(200, 3, 20, 30)
    erased = _erased(images, erase=1.0)
    view = _view(images, erase=1.0)
    for row in range(200):
        where = erased[row].nonzero()
        (top, left), (bottom, right) = where.amin(0).tolist(), where.amax(0).tolist()
        assert len(where) == (bottom - top + 1) * (right - left + 1)
        inside = view[row, :, top : bottom + 1, left : right + 1].flatten(1)
        torch.testing.assert_close(inside, images[row].mean((1, 2))[:, None].expand_as(inside), atol=1e-4, rtol=0)


@pytest.mark.parametrize("area", [(0.02, 0.33), (0.5, 0.5), (0.4, 0.9), (1.0, 1.0)])
def test_what_is_erased_is_as_large_as_it_says(area: tuple[float, float]) -> None:
    share = _erased(torch.rand(3000, 1, 32, 32), erase=1.0, erase_area=area).float().mean((1, 2))
    # A rectangle covers a pixel or not: its sides are off by a pixel at most.
    assert share.min() >= area[0] - 0.05
    assert share.max() <= area[1] + 0.05
    assert abs(share.mean().item() - sum(area) / 2) < 0.01


def test_erasing_is_as_frequent_as_it_says_and_anywhere() -> None:
    erased = _erased(torch.rand(2000, 1, 16, 16), erase=0.3, erase_area=(0.2, 0.3))
    assert 500 < erased.any((1, 2)).sum() < 700
    often = erased.float().mean(0)
    assert often.min() > 0
    assert torch.allclose(often, often.flip(0), atol=0.03)
    assert torch.allclose(often, often.T, atol=0.03)


def test_a_generator_may_lie_elsewhere_than_the_images() -> None:
    meta = torch.empty(9, 1, 8, 8, dtype=torch.uint8, device="meta")
    views = Views(ViewsConfig(local={"size": 4}, contrast=0.2), 1)
    found = views.of(meta, torch.zeros(8, 3, dtype=torch.int64), torch.Generator())
    assert {view.device.type for view in found} == {"meta"}
