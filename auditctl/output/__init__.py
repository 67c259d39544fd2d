"""What commands print and the files they make."""
