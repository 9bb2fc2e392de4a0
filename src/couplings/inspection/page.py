"""The page of an inspection."""

from __future__ import annotations

from couplings.inspection.inspection import Inspection

__all__ = ["page"]


def page(found: Inspection) -> bytes:
    """One self-contained page."""
    return found.subject.name.encode()
