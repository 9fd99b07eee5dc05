"""TODO transforms/segmenters/graphcut."""
