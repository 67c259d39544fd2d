"""Demonstrate the pipeline with real processes and real crashes, and count the results."""
