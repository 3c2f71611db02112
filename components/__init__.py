"""Kubeflow components, one per step. Each is thin: its body calls `bss.stages` inside the image."""

IMAGE = "bss"
"""Used only in the components; the pipeline sets the image of every step to its parameter `image`."""
