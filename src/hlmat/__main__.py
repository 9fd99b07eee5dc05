"""`python -P -m hlmat`: the command `hlmat` by another way.

Without `-P` Python looks in the working folder first, where a `hlmat.py` would win.
"""

import sys

from hlmat.pipelines.cli.main import main

sys.exit(main())
