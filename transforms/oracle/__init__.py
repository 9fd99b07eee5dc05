"""TODO transforms/oracle."""
