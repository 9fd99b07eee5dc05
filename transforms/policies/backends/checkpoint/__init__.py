"""TODO transforms/policies/backends/checkpoint."""
