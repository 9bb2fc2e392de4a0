"""``python -m couplings`` is the ``couplings`` command."""

import sys

from couplings.cli import main

if __name__ == "__main__":
    sys.exit(main())
