"""Mask annotation as a reinforcement learning task: a gymnasium environment and reward functions.

Only `gym_env` needs gymnasium.
"""
