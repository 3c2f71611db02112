"""A first params.yaml for your own data, suggested from its manifest and files."""
