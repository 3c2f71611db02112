"""An overview of a prepared store: counts, shapes, groups and a few samples of each class."""
