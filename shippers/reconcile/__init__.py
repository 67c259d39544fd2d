"""Compare files with a sink record by record, and ship missing ones again."""
