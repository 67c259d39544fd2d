"""Collect the state of every log and source, and problems that need attention."""
