"""Create the configured sinks, sources and index retention."""
