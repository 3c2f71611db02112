"""The file formats between the stages, each with its reader and writer."""
