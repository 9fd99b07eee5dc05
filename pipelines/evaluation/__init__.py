"""Jobs that measure or show finished rollouts: evaluate, compare, score, stats, inspect."""
