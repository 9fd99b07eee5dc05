"""Trajectories to files that others read, and back where that makes sense."""
