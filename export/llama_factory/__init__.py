"""TODO export/llama_factory."""
