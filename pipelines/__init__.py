"""Assemble and launch jobs; no logic."""
