"""TODO transforms/segmenters/hf."""
