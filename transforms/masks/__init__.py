"""TODO transforms/masks."""
