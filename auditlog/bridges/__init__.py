"""From other libraries into the log: logging, structlog, ASGI; and its health to Prometheus.

Nothing here is imported by ``import auditlog``, and each module needs its library only where it is
used: ``from auditlog.bridges.asgi import AuditMiddleware``.
"""
