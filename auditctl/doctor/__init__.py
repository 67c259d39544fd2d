"""Is this host fit for audit logs?  Each check says ok, warn or fail, and what mends it.

finding    what a check says                             pure
disks      what a directory lies on, and who may write   looks, and writes one small file
host       clock, limits of the kernel
units      systemd's, against what auditctl install lays out
services   the agent, and what it ships to
"""
