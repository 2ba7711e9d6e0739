"""Settings for every test process and its children."""

from __future__ import annotations

import os

# Several processes share a small machine: with two threads each, every parallel operation would
# wait for a scheduler quantum. Read when torch is first imported, so set before anything else.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
