"""Kubeflow components, one per step. Each is thin: its body calls `bss.stages` inside the image."""

IMAGE = "bss"
"""Stands in the components alone; the pipeline sets the image of every step to its parameter `image`."""
