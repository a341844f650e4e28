"""``python -m bookrun``."""

import sys

from bookrun.cli import main

sys.exit(main())
