"""`python -m gangraph` is the command `gangraph`."""

import sys

from gangraph.cli import main

if __name__ == "__main__":
    sys.exit(main())
