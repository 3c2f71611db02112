"""One trial over several ranks: process group, and batch normalisation and dropout across ranks."""
