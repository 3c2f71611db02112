"""One training over several ranks: their group, and batch normalisation and dropout over all of them."""
