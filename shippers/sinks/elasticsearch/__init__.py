"""Deliver to Elasticsearch 8.19 or 9, set up a cluster, and read records back."""
