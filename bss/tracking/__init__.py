"""Provenance of artifacts, and MLflow."""
