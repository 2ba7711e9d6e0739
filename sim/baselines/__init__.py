"""Baselines on the twins, to compare with: each a script of its own."""
