"""Deliver records and documents, and read them back."""
