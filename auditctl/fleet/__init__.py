"""Judge every log of a fleet by its shipped records: silent, incomplete, forked or unknown."""
