"""Published datasets: one file each, which reads the dataset's original layout and holds the paper's settings.

A new dataset is a new file here with a `DATASET` in it, and a test in tests/datasets.
"""
