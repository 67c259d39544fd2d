"""Read the configuration: settings, their origins, and their meaning."""
