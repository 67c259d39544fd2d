"""Speed, as ratios against peers and the hardware's limit in one run on one machine.

``python -m benchmarks`` runs everything, ``python -m benchmarks writer --rounds 7`` one of them.
"""
