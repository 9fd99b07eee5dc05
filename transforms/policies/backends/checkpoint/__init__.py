"""A transformers checkpoint that answers in this process: files checked, loaded and run."""
