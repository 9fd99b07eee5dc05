"""Beam transforms around the pure functions; nothing else under `transforms` imports Beam."""
