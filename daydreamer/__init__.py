"""Daydreamer: a robot learns in the real world, in hours, without a simulator."""

__version__ = "0.1.0"
