"""The formats on disk: a record's line, the names of segments, tombstones, foreign files."""
