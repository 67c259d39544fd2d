"""Keep secrets, and characters that deceive a reader, out of records."""
