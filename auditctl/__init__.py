"""The command line, the config file, and the composition of the parts."""
