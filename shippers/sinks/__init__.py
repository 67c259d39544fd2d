"""Where records are delivered to."""
