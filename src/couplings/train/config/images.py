"""Which images, how they are augmented, and who is whose positive and negative."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, model_validator
from typing_extensions import Self

from couplings.train.config.base import Count, Fraction, PerView, Pixels, Place, Range, Ratios, Settings
from couplings.train.errors import one_of

__all__ = ["DATA_NAMES", "DataConfig", "LocalViewsConfig", "PairsConfig", "ViewsConfig"]

FETCHED = ("fashion-mnist", "cifar10", "cifar100", "stl10", "svhn")
_MOST_VIEWS = 256
OWN_FILES = ("images", "npz")
# "arrays" stands for images handed over in Python: they cannot be loaded again from the config alone.
DATA_NAMES = ("digits", *FETCHED, *OWN_FILES, "arrays")


class DataConfig(Settings):
    """Which images.

    Attributes:
        name: one of ``digits``, ``fashion-mnist``, ``cifar10``, ``cifar100``, ``stl10``, ``svhn``,
            ``images`` (a folder of image files), ``npz`` (a file of arrays), ``arrays`` (given in Python).
        folder: the folder of the files; for ``npz`` the file itself.
        download: let torchvision fetch the files into ``folder`` if they are missing.
        size: resize to this height and width (pixels); None keeps the native resolution.
        limit: keep a seeded subset of that many training images.
        test_fraction: share held out for evaluation where the source has no test images of its own
            (a fifth if None).
        imbalance: thin out the training classes: the b-th tenth of them keeps b / 10 (``linear``) or exp(b - 10)
            (``exponential``) of its images, b = 1 to 10; the test images stay as they are.
        domains: the images lie in DOMAIN/CLASS/ folders; an .npz file has its array ``domains`` anyway.
        max_pixels: of the largest file of ``images`` that is decoded (50 million if None).
    """

    name: Annotated[str, AfterValidator(partial(one_of, known=DATA_NAMES))] = "digits"
    folder: Place | None = None
    download: bool = False
    size: Pixels | None = None
    limit: Count | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    imbalance: Literal["linear", "exponential"] | None = None
    domains: bool = False
    max_pixels: Count | None = None

    @model_validator(mode="after")
    def _no_ignored_key(self) -> Self:
        if self.folder is not None and self.name not in (*FETCHED, *OWN_FILES):
            raise ValueError(f"folder: '{self.name}' reads no files; leave data.folder out")
        if self.folder is None and self.name in OWN_FILES:
            what = "folder of images" if self.name == "images" else ".npz file"
            raise ValueError(f"folder: missing; data.folder names the {what}")
        if self.download and self.name not in FETCHED:
            raise ValueError(f"download: '{self.name}' has nothing to fetch; leave data.download out")
        if self.test_fraction is not None and self.name not in OWN_FILES:
            raise ValueError(f"test_fraction: '{self.name}' has its own test images; leave it out")
        if self.domains and self.name != "images":
            raise ValueError(f"domains: '{self.name}' has no folders of domains; leave data.domains out")
        if self.max_pixels is not None and self.name != "images":
            raise ValueError(f"max_pixels: '{self.name}' has no image files; leave data.max_pixels out")
        given = [key for key in ("size", "limit", "imbalance") if getattr(self, key) is not None]
        if self.name == "arrays" and given:
            raise ValueError(f"{given[0]}: 'arrays' are taken as they come; change the images, and leave it out")
        return self


JITTER = ("brightness", "contrast", "exposure", "gamma", "saturation", "hue")
"""The changes of light and colour that ``jitter`` leaves out together."""


class LocalViewsConfig(Settings):
    """Small crops beside the global ones (multi-crop); they share all other operations.

    Attributes:
        count: local views of an image.
        crop: range of their area, as a share of the image.
        size: their height and width in pixels.
    """

    count: Annotated[int, Field(gt=0, le=_MOST_VIEWS)] = 6
    crop: Range = (0.05, 0.4)
    size: Pixels


class ViewsConfig(Settings):
    """Random augmentation, drawn anew for each image and view.

    ``blur`` and ``solarise`` take one probability, or a list with one for each view in their order, global before local
    ones; its last is that of all that follow.

    Attributes:
        count: views of an image, local ones aside.
        crop: range of the crop's area, as a share of the image.
        aspect: range of the crop's width over its height.
        rotation: largest angle, in degrees.
        flip: probability of a horizontal flip.
        brightness: largest value added to or taken from all pixels (pixels are in [0, 1]).
        contrast: the factor is drawn from 1 - contrast to 1 + contrast.
        exposure: the factor of all pixels is drawn from 1 - exposure to 1 + exposure (torchvision's brightness).
        gamma: the exponent is exp(u) with u from -gamma to gamma.
        saturation: as contrast, for the saturation of colour images.
        hue: largest turn of the hue, as a share of the colour circle.
        jitter: probability that a view has the changes from brightness to hue at all.
        grayscale: probability of losing all colour.
        blur: probability of a Gaussian blur (sigma 0.1 to 2 pixels).
        solarise: probability of turning the bright half of all pixels into its negative.
        erase: probability of overwriting a random rectangle with the image's mean.
        erase_area: range of its area, as a share of the view.
        local: small crops as further views; None for none.
    """

    count: Annotated[int, Field(ge=2, le=_MOST_VIEWS)] = 2
    crop: Range = (0.6, 1.0)
    aspect: Ratios = (3 / 4, 4 / 3)
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    flip: Fraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    exposure: Fraction = 0.0
    gamma: NonNegativeFloat = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    jitter: Fraction = 1.0
    grayscale: Fraction = 0.0
    blur: PerView = 0.0
    solarise: PerView = 0.0
    erase: Fraction = 0.0
    erase_area: Range = (0.02, 0.33)
    local: LocalViewsConfig | None = None

    @model_validator(mode="after")
    def _no_ignored_key(self) -> Self:
        if self.jitter < 1 and not any(getattr(self, key) for key in JITTER):
            raise ValueError(f"jitter: there is nothing to leave out; set one of {', '.join(JITTER)}")
        for key in ("blur", "solarise"):
            given = getattr(self, key)
            if isinstance(given, tuple) and len(given) > self.total:
                raise ValueError(f"{key}: {len(given)} probabilities for {self.total} views; give each view one")
        return self

    @property
    def total(self) -> int:
        """Views of an image, local ones included."""
        return self.count + (0 if self.local is None else self.local.count)


class PairsConfig(Settings):
    """Who is whose positive and negative.

    Attributes:
        positives: ``views`` of one image, or of images of one ``class``: each view then shows another random image of
            the anchor's class (the latent-class model; needs labels).
        wrong: probability that a view after the first shows a random image: a given share of corrupted positives.
        negatives: this many negatives an anchor of its own, drawn independently of it and of each other from all
            images, in place of the batch's; None takes those of the batch.
        pool: the negatives of a step are drawn, with replacement, from this many images that all anchors share; None
            gives each negative an image of its own (batch_size x negatives images a step).
        labels: pass the labels to the loss: a class attracts where the loss says so, else it does not repel.
        domains: pass the domains to the loss, whose target is then Domains (loss.target).
        exclude: a .csv or .parquet file of pairs of images that never repel each other, columns id_a and id_b (what the
            data set calls them) or a and b (rows of the training images), perhaps group: alike altogether.
    """

    positives: Literal["views", "class"] = "views"
    wrong: Fraction = 0.0
    negatives: Count | None = None
    pool: Count | None = None
    labels: bool = False
    domains: bool = False
    exclude: Place | None = None

    @model_validator(mode="after")
    def _no_ignored_key(self) -> Self:
        if self.pool is not None and self.negatives is None:
            raise ValueError("pool: nothing is drawn from it; set pairs.negatives too, or leave pairs.pool out")
        idle = [key for key in ("labels", "domains", "exclude") if getattr(self, key)]
        if self.negatives is not None and idle:
            raise ValueError(f"{idle[0]}: pairs.negatives replaces the batch's pairs, which they are about; drop one")
        return self
