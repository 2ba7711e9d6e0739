"""Baselines on the same tasks, bodies and steps: `python -m sim.baselines`."""
