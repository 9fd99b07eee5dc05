"""TODO transforms/readers/trace."""
