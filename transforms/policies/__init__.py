"""Click policies behind the protocol `ClickPolicy`: oracle, baselines and models."""
