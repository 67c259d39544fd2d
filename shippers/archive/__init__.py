"""An archive of finished segments in an S3 bucket with Object Lock; needs the extra ``[archive]``.

Imported only where an archive is configured.
"""
