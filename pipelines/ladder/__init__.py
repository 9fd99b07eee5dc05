"""TODO pipelines/ladder."""
