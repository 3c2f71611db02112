"""One training: the loop, its steps, measuring and evaluation."""
