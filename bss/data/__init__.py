"""From manifest to store: read, check, decode once, and read back."""
