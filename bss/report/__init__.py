"""The comparison of schedulers over seeds, as numbers, tables and one HTML page."""
