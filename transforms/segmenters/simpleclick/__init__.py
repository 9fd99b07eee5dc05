"""TODO transforms/segmenters/simpleclick."""
