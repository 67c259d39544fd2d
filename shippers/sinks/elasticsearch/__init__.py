"""Deliver to Elasticsearch 8.19 or 9, set a cluster up, and read records back."""
