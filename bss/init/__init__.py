"""A first params.yaml for data of one's own, from what its manifest and files look like."""
