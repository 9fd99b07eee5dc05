"""Run outputs on disk: schemas, rows and records, work units, file layout."""
