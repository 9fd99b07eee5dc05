"""TODO transforms/segmenters/sam."""
