"""TODO pipelines/evaluation."""
