"""Sources of a model's answers: a checkpoint, an OpenAI-compatible server or recorded answers."""
