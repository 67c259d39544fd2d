"""Check whether this host is ready for audit logs: each check is ok, a warning or a failure.

check_result  one result and its remedy; thresholds          pure
disks         file system, permissions and sync time of a directory
host          clock, limits of the kernel
environment   packages of other distributions with one of our names
units         systemd units, compared with those of auditctl install
reach         whether retention may reach the clusters that it has to ask
services      the running agent, and the sinks
"""
