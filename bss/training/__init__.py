"""The training loop, measuring and evaluation."""
