"""Trajectories to files for other tools, and back where that makes sense."""
