"""A small Qwen3-VL with a vocabulary and a vision tower of its own, built from nothing."""
