"""A small Qwen3-VL for the generated data set: tokenizer, weights and vision pre-training."""
