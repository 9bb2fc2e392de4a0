"""Time and memory against what people use today; run as ``couplings bench``.

A `Work` is one computation at some sizes, done by us and by others (`Contender`). `measure` times them in turns and
measures their peak memory in processes of their own; `Report` holds what came out, with tables and figures.
"""

from __future__ import annotations
