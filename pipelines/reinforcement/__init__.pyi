from .rl import reinforce as reinforce
