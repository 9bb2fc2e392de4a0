"""The six losses on real images of digits, side by side: the logic of ``couplings demo``."""

from couplings.demo.plan import Demo
from couplings.demo.result import DemoResult

__all__ = ["Demo", "DemoResult"]
