"""Provide the command line, the configuration and the agent."""
