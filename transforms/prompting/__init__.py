"""TODO transforms/prompting."""
