"""A strategy in the loop: how it starts, what it sees, and its part of each epoch and step."""
