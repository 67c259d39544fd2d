"""Read the audit logs of some directories as a source."""
