"""TODO pipelines/training."""
