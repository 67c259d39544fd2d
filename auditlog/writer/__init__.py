"""Write a log: number and chain records, commit them in groups, recover after a crash."""
