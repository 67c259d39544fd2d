"""The long-running agent: services, signals, health and metrics in one process."""
