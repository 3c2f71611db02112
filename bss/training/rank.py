"""Alias of `bss.launch.rank_main` until the next release, for users of ``-m bss.training.rank``."""

import sys

from bss.launch.rank_main import main

if __name__ == "__main__":
    sys.exit(main())
