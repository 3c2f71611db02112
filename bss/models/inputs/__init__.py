"""From what the store holds to what an encoder takes: moved, augmented, cropped, transformed."""
