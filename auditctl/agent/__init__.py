"""Run shipping, retention, health checks and metrics as one service."""
