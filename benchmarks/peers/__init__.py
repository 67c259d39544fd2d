"""The programs that people use for this today, at the same work and under the same faults.

``benchmarks.peers.speed`` measures a backlog; ``benchmarks.peers.faults`` kills each of them three
times with SIGKILL and counts what the index lost and what it has twice; ``benchmarks.peers.kafka``
does both for a way over Kafka.
"""
