"""A prepared store as people see it: counts, shapes, groups and a few samples of each class."""
