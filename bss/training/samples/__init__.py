"""The stored samples of a split as network inputs."""
