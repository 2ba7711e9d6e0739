"""Agents: a world model and a behaviour, put together and trained. Losses are pure functions."""
