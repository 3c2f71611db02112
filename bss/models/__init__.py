"""Networks, and what they make of their inputs: encoders, fusion, predictions."""
