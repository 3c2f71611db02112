"""The built-in data: digits that are seen and heard, drawn from a seed."""
