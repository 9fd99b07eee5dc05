"""Generated scenes of shapes with exact masks and referring expressions."""
