"""The command line as ``python -m stack3d``."""

import sys

from stack3d.cli import main

if __name__ == "__main__":
    sys.exit(main())
