"""Click traces in the JSON format of the SegAgent reference."""
