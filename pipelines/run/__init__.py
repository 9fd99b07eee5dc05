"""TODO pipelines/run."""
