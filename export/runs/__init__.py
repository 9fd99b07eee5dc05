"""TODO export/runs."""
