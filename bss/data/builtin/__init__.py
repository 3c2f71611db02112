"""The built-in data: audio-visual digits, generated from a seed."""
