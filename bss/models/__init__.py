"""Encoders, fusion and the multi-modal network."""
