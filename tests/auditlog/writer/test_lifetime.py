"""The end of processes of every kind: what was emitted just before is in the log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import auditlog
from tests.support.unmeasured import unmeasured

OPEN: Final = (
    "import sys, auditlog\n"
    "def opened():\n"
    "    return auditlog.open(sys.argv[1], service='queen-rbee', host='hive1', instance='auto',\n"
    "                         flush=auditlog.FlushPolicy.batched(max_delay=600))\n"
)
PROCESSES: Final = {
    "script": "opened().emit('just.before')\n",
    "thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "log = opened()\n"
        "pool = ThreadPoolExecutor(2)\n"
        "import time\n"
        "pool.submit(lambda: (time.sleep(0.2), log.emit('just.before')))\n"
    ),
    "shutdown hook": (
        "import os\nopened().emit('just.before')\nauditlog.close_all()\nos._exit(0)\n"
    ),
} | {
    f"{kind}, {method}": (
        "import multiprocessing\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "log = None\n"
        "def work(_):\n"
        "    global log\n"
        "    log = log or opened()\n"
        "    log.emit('just.before')\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context('{method}')\n" + start
    )
    for method in ("fork", "spawn", "forkserver")
    for kind, start in {
        "process": (
            "    process = context.Process(target=work, args=(1,))\n"
            "    process.start()\n    process.join()\n    sys.exit(process.exitcode)\n"
        ),
        "process pool": (
            "    with ProcessPoolExecutor(1, mp_context=context) as pool:\n"
            "        list(pool.map(work, [1]))\n"
        ),
    }.items()
}


def run(directory: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    script = directory / "script.py"
    script.write_text(OPEN + code)
    return subprocess.run(
        [sys.executable, *options, script, directory / "audit"],
        env={**unmeasured(), "PYTHONPATH": str(Path(auditlog.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("process", PROCESSES)
def test_at_exit(tmp_path: Path, process: str) -> None:
    done = run(tmp_path, PROCESSES[process])
    types = [record.event_type for record in auditlog.read(tmp_path / "audit", log_events=True)]
    assert types[-2:] == ["just.before", "log.closed"], done
    assert auditlog.verify(tmp_path / "audit").ok


def test_at_exit_a_log_that_nobody_closed_is_a_resource_warning(tmp_path: Path) -> None:
    done = run(tmp_path, PROCESSES["script"], "-W", "error::ResourceWarning")
    assert "ResourceWarning: <Log queen-rbee@hive1+1 in " in done.stderr
    assert [r.event_type for r in auditlog.read(tmp_path / "audit", log_events=True)][
        -1
    ] == "log.closed"
    closed = "with opened() as log:\n    log.emit('some.event')\n"
    assert "ResourceWarning" not in run(tmp_path, closed, "-X", "dev").stderr


def test_disowned(tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="queen-rbee", host="hive1", flush="batched") as log:
        log.emit("before.it")
        child = os.fork()
        if child == 0:
            try:
                auditlog.close_all()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        log.emit("after.it")
    types = [record.event_type for record in auditlog.read(tmp_path, log_events=True)]
    assert types[-3:] == ["before.it", "after.it", "log.closed"]
    assert auditlog.verify(tmp_path).ok


def test_the_next_run_says_whether_the_one_before_was_closed(tmp_path: Path) -> None:
    killed = OPEN + "import os\nlog = opened()\nlog.emit('some.event', durable=True)\nos._exit(1)\n"
    run(tmp_path, "opened().close()\n")
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path, killed)
    run(tmp_path, "opened().close()\n")
    records = list(auditlog.read(tmp_path / "audit", log_events=True))
    first, second, third = (
        record.fields["details"] for record in records if record.event_type == "log.opened"
    )
    durable = next(record.seq for record in records if record.event_type == "some.event")
    assert "previous_closed" not in first
    assert (second["previous_closed"], second["previous_seq"]) == (True, 3)
    assert (third["previous_closed"], third["previous_seq"]) == (False, durable)
