"""TODO transforms/metrics."""
