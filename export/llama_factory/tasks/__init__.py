"""What trajectories can train: one module per task, each from a target to its samples."""
