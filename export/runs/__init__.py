"""The folder of a finished run: its manifest, its data card, its trajectories read back."""
