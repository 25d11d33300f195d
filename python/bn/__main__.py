"""`python -m bn`: train a network, classify images with it, show and check the build."""

import sys

from bn.cli import main

if __name__ == "__main__":
    sys.exit(main())
