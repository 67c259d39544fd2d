"""Verify logs: check every hash and link, and report where each problem is."""
