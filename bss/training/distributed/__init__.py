"""One training over several ranks: process group, and batch normalisation and dropout across ranks."""
