"""The process that learns: ingest, replay, training, publishing, checkpoints."""
