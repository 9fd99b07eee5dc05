"""TODO transforms/readers/files."""
