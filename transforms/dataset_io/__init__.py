"""TODO transforms/dataset_io."""
