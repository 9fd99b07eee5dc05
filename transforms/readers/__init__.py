"""Data sets: one reader per family behind the protocol `DatasetReader`, opened by name."""
