"""What the Kubeflow components need besides the stages: parameters per stage, data, the MLflow run they share."""
