"""Helpers of the Kubeflow components: parameters per stage, data, and the shared MLflow run."""
