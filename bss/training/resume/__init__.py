"""Resume after a stop: the state of a training, and its checkpoints on disk and on an object store."""
