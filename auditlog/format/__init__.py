"""Define the formats on disk: records, segment names, tombstones, foreign files."""
