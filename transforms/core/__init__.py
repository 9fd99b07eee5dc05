"""TODO transforms/core."""
