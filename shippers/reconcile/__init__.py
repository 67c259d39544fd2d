"""Compare files with a sink record by record, and ship again what is missing there."""
