"""The job `hlmat export`: write a run's trajectories as training data or another format."""
