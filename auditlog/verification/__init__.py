"""Verify logs: check every hash and link, and report each problem with its place."""
