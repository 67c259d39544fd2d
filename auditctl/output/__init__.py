"""Format the output of commands, and create files durably."""
