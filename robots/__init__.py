"""Bodies: what can be read and commanded. Imports neither torch nor daydreamer."""
