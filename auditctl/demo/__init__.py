"""The demo: real processes, real crashes, and every promise counted at the end."""
