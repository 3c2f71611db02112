"""The audit of a prepared dataset: out-of-fold predictions, facts of the inputs, duplicates, and what follows."""
