"""The configuration: which settings exist, where they come from, what they mean."""
