"""TODO transforms/torch_support."""
