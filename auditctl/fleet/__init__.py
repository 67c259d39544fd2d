"""Find logs of a fleet that are silent, incomplete, forked or unknown, from a sink."""
