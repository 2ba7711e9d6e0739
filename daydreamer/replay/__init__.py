"""Experience: the archive on disk, sequences in memory, and the replay-ratio limiter."""
