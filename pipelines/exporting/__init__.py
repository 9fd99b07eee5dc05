"""TODO pipelines/exporting."""
