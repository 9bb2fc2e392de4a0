"""What drives the learning of a space: which pairs a loss pushes, which of them it should not.

Importing this package needs ``pip install 'couplings[report]'``; :mod:`couplings.diagnostics` has the same figures as
functions, with torch alone.
"""

from couplings.inspection.advice import Advice, Level, advice
from couplings.inspection.inspection import Candidates, Inspection, Settings, Space, inspect
from couplings.inspection.plane import Plane
from couplings.inspection.subject import Subject

__all__ = [
    "Advice",
    "Candidates",
    "Inspection",
    "Level",
    "Plane",
    "Settings",
    "Space",
    "Subject",
    "advice",
    "inspect",
]
