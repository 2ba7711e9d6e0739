"""The command `daydreamer`, `python -m daydreamer`: answers Ctrl-C before it imports the rest."""

from __future__ import annotations

from daydreamer import interrupts


def main() -> int:
    """Run the process's command line; returns its exit code."""
    interrupts.end_at_once()
    from daydreamer.cli import main as run

    try:
        return run()
    except KeyboardInterrupt:  # one more, while the first was answered
        return interrupts.INTERRUPTED
    finally:
        interrupts.ignore()


if __name__ == "__main__":
    raise SystemExit(main())
