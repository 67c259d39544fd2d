"""Ships audit logs into sinks so that every record arrives exactly once and none is skipped."""
