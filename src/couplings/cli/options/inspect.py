"""`couplings inspect`: its options."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from couplings.cli.options.words import Whole

Switch = Annotated[bool, Parameter(negative=())]
Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]


class SpaceName(Enum):
    """Which vectors of a run's network."""

    PROJECTIONS = "projections"
    FEATURES = "features"


class MapName(Enum):
    """How rows are laid out in two dimensions."""

    PCA = "pca"
    UMAP = "umap"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Options of `couplings inspect`.

    Attributes:
        loss: The loss in question, as hcl-ot or hcl-ot:reg=0.3 [default: a run's own, else infonce].
        beside: Losses whose push is shown beside it [default: infonce, hcl, hcl-ot, gca-ince, cacr].
        batch_size: Samples a batch, as in training: what a loss does depends on it [default: a run's own, else 256].
        rounds: Batches that each sample is in.
        pairs: Pairs to name as possible false negatives [default: as many as samples].
        map: The layout in two dimensions: pca at once, umap with umap-learn in minutes.
        space: Of a run: projections, where the loss acts, or features, what is kept [default: projections].
        encoder: For a folder of images: the folder of a run or of an export.
        size: For a folder of images: bring them to that many pixels [default: a run's own].
        max_pixels: For a folder of images: of the largest file that is decoded [default: 50 million].
        data_folder: For a run: where its images are now.
        embeddings: The array or column of the embeddings (n, d) [default: embeddings, features, z, ...].
        positives: That of another view of each row, (n, d).
        labels: That of the labels, numbers or words.
        groups: That of equal numbers or words for rows of one sample, which never repel each other.
        ids: That of what the rows are called.
        texts: That of the rows' texts.
        thumbnails: That of small pictures, uint8 (n, h, w) or (n, h, w, 3); npz only.
        seed: Of the batches.
        atlas: Open the table of rows in Embedding Atlas afterwards; pip install embedding-atlas.
    """

    loss: str | None = None
    beside: Words = None
    batch_size: Whole | None = None
    rounds: Whole = 4
    pairs: Whole | None = None
    map: MapName = MapName.PCA
    space: SpaceName | None = None
    encoder: Path | None = None
    size: Whole | None = None
    max_pixels: Whole | None = None
    data_folder: Path | None = None
    embeddings: str | None = None
    positives: str | None = None
    labels: str | None = None
    groups: str | None = None
    ids: str | None = None
    texts: str | None = None
    thumbnails: str | None = None
    seed: Whole = 0
    atlas: Switch = False
