"""TODO pipelines/settings."""
