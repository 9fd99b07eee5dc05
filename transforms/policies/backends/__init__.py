"""TODO transforms/policies/backends."""
