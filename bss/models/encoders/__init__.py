"""Encoders: map one modality's inputs to a feature vector."""
