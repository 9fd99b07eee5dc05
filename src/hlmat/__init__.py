"""A data engine for human-like mask annotation (HLMAT)."""
