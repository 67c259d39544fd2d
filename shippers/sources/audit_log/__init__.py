"""Read the audit logs in directories as a source."""
