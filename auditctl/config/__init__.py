"""Read the configuration, and track the origin of each setting."""
