"""Files inside the manifest's own files: in Parquet and Arrow tables, and in tar shards."""
