"""Known tasks as bodies: gymnasium, DeepMind Control, Atari. Start at core.py."""
