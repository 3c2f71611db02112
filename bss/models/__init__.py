"""Networks: inputs, encoders, fusion, predictions."""
