"""Run benchmarks, store their results and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys

from benchmarks import harness, plots, report
from benchmarks.harness import BY_WORKLOAD, NAMES, PEERS
from benchmarks.workload import WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES + PEERS)}")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every case (5)")
    parser.add_argument(
        "--workload",
        choices=WORKLOADS,
        default="even",
        help=f"records of {', '.join(BY_WORKLOAD)}: alike, or with random ids and texts (even)",
    )
    parser.add_argument("--case", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        name, case = arguments.names
        print(harness.load(name).CASES[case].run())
        return
    if unknown := set(arguments.names) - {*NAMES, *PEERS}:
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES + PEERS)}"
        )
    if arguments.workload != "even" and not set(arguments.names) <= set(BY_WORKLOAD):
        parser.error(f"--workload is for {', '.join(BY_WORKLOAD)}")
    names = arguments.names or NAMES
    if not arguments.names and arguments.workload != "even":
        names = [name for name in NAMES if name in BY_WORKLOAD]
    for name in names:
        result = harness.run(
            name,
            arguments.rounds,
            lambda line: print(line, file=sys.stderr),
            workload=arguments.workload,
        )
        harness.store(result)
        print(report.table(result))
    print("written:", *report.write_documents(), *plots.draw_all(), file=sys.stderr)


if __name__ == "__main__":
    main()
