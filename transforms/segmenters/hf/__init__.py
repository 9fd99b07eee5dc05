"""SAM, SAM-HQ, SAM 2 and SAM 3 checkpoints of Hugging Face transformers."""
