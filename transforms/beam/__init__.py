"""Thin Beam transforms around the pure functions; the only Beam import below `pipelines`."""
