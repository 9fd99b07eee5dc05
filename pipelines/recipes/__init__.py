"""TODO pipelines/recipes."""
