"""From stored samples to encoder inputs: transfer, augmentation, crop, transform."""
