"""Resume after a stop: the state of a trial, and its checkpoints on disk and on an object store."""
