"""Deliver to one SQLite file, and read records back."""
