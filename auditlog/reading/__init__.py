"""Read logs: list segments, decode every form, follow new records."""
