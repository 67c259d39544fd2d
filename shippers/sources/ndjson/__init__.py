"""Read other programs' NDJSON files as a source."""
