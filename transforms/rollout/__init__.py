"""TODO transforms/rollout."""
