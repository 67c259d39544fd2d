"""What records are read from."""
