"""Print what commands have to say, and write the files that they make."""
