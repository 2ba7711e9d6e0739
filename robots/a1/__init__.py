"""Unitree A1: spec, walking task."""
