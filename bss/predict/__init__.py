"""Predict the samples of a new manifest with a trained network."""
