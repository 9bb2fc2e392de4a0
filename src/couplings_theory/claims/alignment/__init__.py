"""Claims about alignment by plans: projections, gradients, limits, free embeddings."""

from .embeddings import CLAIMS as _EMBEDDINGS
from .limits import CLAIMS as _LIMITS
from .projections import CLAIMS as _PROJECTIONS

CLAIMS = (*_PROJECTIONS, *_LIMITS, *_EMBEDDINGS)
