"""Connect other libraries to the log: logging, structlog, ASGI, WSGI, Django, Celery, Prometheus.

``import auditlog`` imports nothing of this, and each module needs its library only where it is
used: ``from auditlog.bridges.asgi import AuditMiddleware``.
"""
