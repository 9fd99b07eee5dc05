"""A run of click trajectories: its folder, plan, progress, runners and worker processes."""
