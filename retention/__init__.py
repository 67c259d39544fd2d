"""Retention: compress and delete segments, never the wrong one, and prove what was deleted.

``schedule`` needs APScheduler; who only asks for a policy or the holds loads nothing else.
"""
