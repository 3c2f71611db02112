"""The Kubeflow pipeline, its cluster settings, and its submission."""
