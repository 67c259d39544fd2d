"""Read the systemd journal as a source."""
