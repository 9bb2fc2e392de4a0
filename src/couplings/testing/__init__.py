"""Is a loss of one's own a loss: conformance checks, and gradients over processes of any loss.

Needs torch alone; `parametrize_with_checks` needs pytest.
"""

from .check import Check, check_loss, parametrize_with_checks
from .gathered import Gradients, check_gradients
from .near import Nonconforming
from .processes import Processes, ProcessFailed

__all__ = [
    "Check",
    "Gradients",
    "Nonconforming",
    "ProcessFailed",
    "Processes",
    "check_gradients",
    "check_loss",
    "parametrize_with_checks",
]
