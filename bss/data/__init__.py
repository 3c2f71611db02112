"""From the manifest to the store: reading, checking, decoding once, and reading back."""
