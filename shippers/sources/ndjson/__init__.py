"""Read files that other programs append JSON lines to as a source."""
