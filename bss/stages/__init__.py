"""The stages of the pipeline, each a function: paths in, paths out."""
