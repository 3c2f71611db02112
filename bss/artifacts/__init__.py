"""The file formats between the stages, each with what reads and what writes it."""
