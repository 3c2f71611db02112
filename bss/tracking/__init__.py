"""MLflow: records of the trials, their journal, and its upload."""
