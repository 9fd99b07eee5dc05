"""TODO transforms/readers/shapes."""
