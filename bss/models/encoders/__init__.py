"""Encoders: one modality's inputs to a feature vector."""
