"""Training data for LLaMA-Factory: samples, their images and the files that hold them."""
