"""`daydreamer bench`: figures for this machine."""
