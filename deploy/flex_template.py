"""What Dataflow's launcher starts: `hlmat trajectories` with the template's parameters."""

from __future__ import annotations

import sys

from hlmat.pipelines.cli.flex_template import arguments_of_template
from hlmat.pipelines.cli.main import main

if __name__ == "__main__":
    sys.argv[1:] = ["trajectories", *arguments_of_template(sys.argv[1:])]
    sys.exit(main())
