"""SimpleClick with checkpoints of the official layout."""
