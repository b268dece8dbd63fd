"""`python -m oprel`."""

import sys

from oprel.cli.main import main

sys.exit(main())
