"""What is measured of a trial, one file per metric: how it is computed, named and shown, as `METRIC`."""
