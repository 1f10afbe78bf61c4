"""`python -m gfla`: see `gfla.cli`."""

import sys

from gfla.cli import main

if __name__ == "__main__":
    sys.exit(main())
