"""Read audit logs, other programs' files and the journal."""
