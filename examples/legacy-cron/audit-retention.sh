#!/bin/sh
# The script that cron ran each night before retention: kept to be looked at beside it.
AUDIT_DIR="${1:-/var/log/llama-orch/audit}"
find "$AUDIT_DIR" -name "*.ndjson"    -mtime +30 -exec gzip {} \;
find "$AUDIT_DIR" -name "*.ndjson.gz" -mtime +90 -delete
