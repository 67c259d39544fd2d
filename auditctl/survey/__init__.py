"""Collect the state of every log and source, and which of it needs a person."""
