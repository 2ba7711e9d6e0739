"""Twins: simulated stand-ins behind robots.base. Imports neither torch nor daydreamer."""
