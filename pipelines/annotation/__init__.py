"""TODO pipelines/annotation."""
