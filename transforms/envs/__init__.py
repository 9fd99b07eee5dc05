"""Mask annotation as a reinforcement learning task: an environment and rewards.

`mask_annotation` needs gymnasium; everything else here works without it.
"""
