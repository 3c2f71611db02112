"""The Kubeflow pipeline, what it asks of a cluster, and its submission."""
