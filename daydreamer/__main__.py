"""`python -m daydreamer` is `daydreamer`."""

from daydreamer.cli import main

raise SystemExit(main())
