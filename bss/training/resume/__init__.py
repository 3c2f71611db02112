"""Going on after a stop: the state of a training, and its checkpoints here and on an object store."""
