"""Make sinks, sources and index retention from the configuration."""
