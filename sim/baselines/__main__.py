"""python -m sim.baselines"""

from __future__ import annotations

import sys

from sim.baselines.command import main

sys.exit(main())
