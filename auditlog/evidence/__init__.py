"""Sign and cosign checkpoints of logs, and prove records to people who distrust the host.

Needs the extra ``[evidence]``; nothing else of auditlog imports it.
"""
