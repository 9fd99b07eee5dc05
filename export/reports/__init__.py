"""TODO export/reports."""
