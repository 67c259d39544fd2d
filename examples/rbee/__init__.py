"""Two services of an LLM orchestrator that audit what they do with auditlog.

queen-rbee   the orchestrator: takes tasks, and has a hive do them
rbee-hive    one pool manager on each GPU host: starts, watches and stops worker processes

They are small but real: tokens, worker processes, health checks, a circuit breaker, model files,
metrics.  Only the inference itself is made up.  README.md here shows how to run them.
"""
