"""MLflow: what the trainings record, the journal of it, and sending it."""
