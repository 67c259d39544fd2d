"""How each of them is set up: as its documentation recommends for throughput into Elasticsearch.

A contender is a directory of its own, and a command that can be started again after a SIGKILL.
None but ours sends ids; each keeps its own place in the file, as it does by default when tuned.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.agent_process import as_installed, make_key, wait_until_signed, write_config
from benchmarks.peers.packages import unpack

__all__ = ["CONTENDERS", "Contender", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """Ship the segments of ``log`` to indices that begin with ``prefix``."""

    log: Path
    url: str
    prefix: str
    place: Path

    @property
    def index(self) -> str:
        """For those that do not split by day."""
        return f"{self.prefix}-all"


@dataclass(frozen=True, slots=True)
class Contender:
    """The process to run; it never ends by itself.

    ``wait_until_done`` returns when everything else that it does with so many records is done.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    wait_until_done: Callable[[int], None] = lambda _: None


def ours(task: Task) -> Contender:
    """auditctl agent, with its defaults, as it is installed."""
    config = write_config(task.log, task.url, task.prefix, task.place)
    arguments = ("agent", "--only", "ship", "--config", str(config))
    return Contender((sys.executable, "-m", "auditctl", *arguments), as_installed(task.place))


def ours_signing(task: Task) -> Contender:
    """auditctl agent with a key, as `auditctl install` sets it up: every record is signed.

    It writes a log of its checkpoints, which the others must not find: it has a directory of its
    own.
    """
    log = task.place / "log"
    log.mkdir(mode=0o700)
    for segment in task.log.glob("*.ndjson"):
        (log / segment.name).hardlink_to(segment)
    agent = ours(replace(task, log=log))
    make_key(Path(agent.command[-1]))
    return replace(agent, wait_until_done=lambda records: wait_until_signed(task.place, records))


_RSYSLOG: Final = """
module(load="{modules}/imfile")
module(load="{modules}/omelasticsearch")
global(workDirectory="{place}" maxMessageSize="64k")
main_queue(queue.size="200000" queue.dequeueBatchSize="2000" queue.workerThreads="2"
  queue.workerThreadMinimumMessages="4000")
template(name="line" type="string" string="%msg%")
template(name="index" type="string" string="{index}")
input(type="imfile" file="{log}/*.ndjson" tag="audit" persistStateInterval="{interval}"
  readMode="0" freshStartTail="off")
action(type="omelasticsearch" server="{host}" serverport="{port}" template="line"
  searchIndex="index" dynSearchIndex="on" searchType="" bulkmode="on" maxbytes="8m"
  queue.type="LinkedList" queue.size="50000" queue.dequeueBatchSize="2000"
  queue.workerThreads="2" action.resumeRetryCount="-1" action.resumeInterval="1")
"""


def rsyslog(task: Task) -> Contender:
    """As tuned, and with its place in the file kept while it runs."""
    return _rsyslog(task, interval=2000)


def rsyslog_default_state(task: Task) -> Contender:
    """As tuned, and with its place in the file kept when it ends, which is its default."""
    return _rsyslog(task, interval=0)


def _rsyslog(task: Task, interval: int) -> Contender:
    """rsyslogd with imfile and omelasticsearch, bulk mode, two workers."""
    programs = unpack()
    server = urlsplit(task.url)
    config = task.place / "rsyslog.conf"
    config.write_text(
        _RSYSLOG.format(
            modules=programs.rsyslog_modules,
            place=task.place,
            log=task.log,
            index=task.index,
            interval=interval,
            host=server.hostname,
            port=server.port,
        )
    )
    command = (
        str(programs.rsyslogd), "-n", "-f", str(config), "-i", str(task.place / "pid"),
        "-M", str(programs.rsyslog_modules),
    )  # fmt: skip
    return Contender(command, programs.environment)


_SYSLOG_NG: Final = """
@version: 3.38
options {{ log-msg-size(65536); stats-freq(0); time-reopen(1); }};
source s_audit {{
  wildcard-file(base-dir("{log}") filename-pattern("*.ndjson") flags(no-parse)
    max-files(2) follow-freq(0.2) log-fetch-limit(5000) log-iw-size(40000)
    read-old-records(yes));
}};
destination d_index {{
  http(url("{url}/_bulk") method("POST") headers("Content-Type: application/x-ndjson")
    body("{{\\"index\\":{{\\"_index\\":\\"{index}\\"}}}}\\n$MSG") body-suffix("\\n")
    delimiter("\\n") batch-lines(2000) batch-bytes(2Mb) batch-timeout(500) workers(2)
    timeout(30) retries(1000000) log-fifo-size(100000));
}};
log {{ source(s_audit); destination(d_index); flags(flow-control); }};
"""


def syslog_ng(task: Task) -> Contender:
    """syslog-ng with wildcard-file and http, batches of 2,000, two workers, flow control."""
    programs = unpack()
    config = task.place / "syslog-ng.conf"
    config.write_text(_SYSLOG_NG.format(log=task.log, url=task.url, index=task.index))
    names = {"persist-file": "persist", "pidfile": "pid", "control": "control"}
    options = [f"--{option}={task.place / name}" for option, name in names.items()]
    command = (
        str(programs.syslog_ng), "--foreground", "--no-caps", f"--cfgfile={config}",
        f"--module-path={programs.syslog_ng_modules}", *options,
    )  # fmt: skip
    return Contender(command, programs.environment)


def parallel_bulk(task: Task) -> Contender:
    """A script around the client's own helper that notes its place after every chunk."""
    arguments = (str(task.log), task.url, task.index, str(task.place / "offset"))
    return Contender((sys.executable, "-m", "benchmarks.peers.bulk_script", *arguments))


CONTENDERS: Final[Mapping[str, tuple[str, Callable[[Task], Contender]]]] = {
    "auditctl agent": ("defaults; chain verified, ids, cursor durable", ours),
    "auditctl agent, signing": ("as before, and every record in a signed checkpoint", ours_signing),
    "rsyslog": ("imfile and omelasticsearch, tuned; its place kept every 2,000 lines", rsyslog),
    "rsyslog, default state": ("as before; its place kept when it ends", rsyslog_default_state),
    "syslog-ng": ("wildcard-file and http, tuned: 2 workers x 2,000", syslog_ng),
    "parallel_bulk": ("a script, 2 threads x 2,000, its offset in a file", parallel_bulk),
}
