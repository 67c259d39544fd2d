"""Collect the state of every log and source, and the problems that need a person."""
