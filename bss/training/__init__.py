"""One trial: the loop, its steps, measuring and evaluation."""
