"""Sign what logs hold, have it witnessed, and prove records to people who do not trust the host.

Needs the extra ``[evidence]``; nothing else of auditlog imports it.
"""
