"""MLflow: records of the trainings, their journal, and its upload."""
