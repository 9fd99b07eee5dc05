"""TODO export/formats."""
