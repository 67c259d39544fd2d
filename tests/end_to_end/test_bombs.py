"""Small files and answers that unpack to gigabytes: every reader ends, in little room.

Each is a program that may have 768 MiB of address space; what the bombs unpack to is more.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import zstandard
from pytest_httpserver import HTTPServer
from werkzeug import Response

from tests.support.logs import write_log
from tests.support.signed_host import unpack

MOST_BYTES = 768 << 20
LOG = "queen-rbee@hive1"
BLOCK_BYTES = 1 << 17  # of a zstd frame (RFC 8878)


def run(*command: object, cwd: Path | None = None) -> tuple[int, str]:
    """Run a program of ours with little memory; return its exit code and output."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=200,
        env={**os.environ, "AUDITLOG_CONFIG": os.devnull, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES)),
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said[-2000:]
    assert "MemoryError" not in said, said[-2000:]
    assert done.returncode in (0, 1, 2, 3, 65), said[-2000:]
    return done.returncode, said


def rle(byte: bytes, blocks: int) -> bytes:
    """A zstd frame of one byte repeated: 4 bytes for each 128 KiB (RFC 8878, 3.1.1.2)."""
    head = (0xFD2FB528).to_bytes(4, "little") + b"\x00" + b"\x38"  # a window of 128 KiB
    block = ((BLOCK_BYTES << 3) | 2).to_bytes(3, "little") + byte
    last = ((BLOCK_BYTES << 3) | 3).to_bytes(3, "little") + byte
    return head + block * (blocks - 1) + last


def members(byte: bytes, count: int) -> bytes:
    """As many gzip members of 64 MiB each."""
    return gzip.compress(byte * (1 << 26), 1) * count


# Segments -----------------------------------------------------------------------------------------


SEGMENTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a .zst of one line": (".zst", lambda: rle(b"x", 7_000)),
    "a .zst of line feeds": (".zst", lambda: rle(b"\n", 8)),
    "a .gz of one line": (".gz", lambda: members(b"x", 14)),
    "a .gz of line feeds": (".gz", lambda: gzip.compress(b"\n" * 1_000_000)),
}
READERS = {
    "search": ("search", "{audit}", "seq>0"),
    "export": ("export", "{audit}", "--format", "ndjson", "-o", "{place}/out.ndjson"),
    "ship": ("ship", "{audit}", "--to", "{place}/sink.sqlite", "--once"),
    "prune": ("prune", "{audit}", "--dry-run"),
}


@pytest.mark.parametrize(
    ("reader", "bomb"),
    [*(("verify", bomb) for bomb in SEGMENTS), *((each, next(iter(SEGMENTS))) for each in READERS)],
)
def test_a_segment(tmp_path: Path, reader: str, bomb: str) -> None:
    form, make = SEGMENTS[bomb]
    log = write_log(tmp_path / "audit", records=3, segments=2, days=1)
    packed = log.paths[0].with_name(log.paths[0].name + form)
    log.paths[0].unlink()
    packed.write_bytes(make())
    places = {"audit": tmp_path / "audit", "place": tmp_path}
    command = READERS.get(reader, ("verify", "{audit}"))
    code, said = run("-m", "auditctl", *(each.format(**places) for each in command))
    if reader == "verify":
        assert (code, "not_a_record" in said) == (1, True), said


# Archives -----------------------------------------------------------------------------------------


def tar_of(*parts: tuple[str, int, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    """A .tar.zst of members, whose content is a number of blocks of one byte each."""
    packer = zstandard.ZstdCompressor()
    packed = b""
    for name, blocks, byte in parts:
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, blocks * BLOCK_BYTES
        packed += packer.compress(info.tobuf(tarfile.GNU_FORMAT)) + rle(byte, blocks)
    return packed + packer.compress(bytes(1024))


def many_members() -> bytes:
    """Empty files; making each header by the library would take as long as reading them."""
    header = bytearray(tarfile.TarInfo(f"case/{0:06}").tobuf(tarfile.USTAR_FORMAT))
    zeros = sum(header[5:11])
    total = int(header[148:154], 8) - zeros
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    packed = []
    for number in range(100_001):
        header[5:11] = b"%06d" % number
        header[148:154] = b"%06o" % (total + sum(header[5:11]))
        packed.append(packer.compress(bytes(header)))
    return b"".join([*packed, packer.compress(bytes(1024)), packer.flush()])


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing but zeros": (lambda: rle(b"\0", 7_000), "it has no MANIFEST.json"),
    "a manifest of GiB": (
        lambda: tar_of(("case/MANIFEST.json", 7_000, b" ")),
        "its manifest is longer than 67,108,864 bytes",
    ),
    "a manifest of small values": (
        lambda: tar_of(("case/MANIFEST.json", 480, b"[")),
        "its manifest has more than 2,000,000 values",
    ),
    "a segment of one line": (
        lambda: tar_of((f"case/logs/{LOG}.2026-11-23.0001.ndjson", 7_000, b"x")),
        "it has no MANIFEST.json",
    ),
    "a name of GiB": (
        lambda: tar_of(("case/x", 7_000, b"x"), kind=tarfile.GNUTYPE_LONGNAME),
        "cannot be read to its end",
    ),
    "headers of GiB": (
        lambda: tar_of(("case/x", 7_000, b"x"), kind=tarfile.XHDTYPE),
        "cannot be read to its end",
    ),
    "a hundred thousand files": (many_members, "it holds more than 100,000 files"),
}


@pytest.mark.parametrize("bomb", ARCHIVES)
def test_an_archive(tmp_path: Path, bomb: str) -> None:
    make, says = ARCHIVES[bomb]
    path = tmp_path / "case.tar.zst"
    path.write_bytes(make())
    assert path.stat().st_size < 2 << 20
    code, said = run("-m", "auditctl", "verify", path)
    assert (code, says in said) == (65, True), said
    assert str(path) in said


# Exports that an auditor unpacked -----------------------------------------------------------------


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("case")
    write_log(place / "audit", records=3, segments=2, days=1)
    run("-m", "auditctl", "export", place / "audit", "-o", place / "case.tar.zst")
    return unpack(place / "case.tar.zst", place)


def grown(path: Path, byte: bytes = b"\0", size: int = 3 << 30) -> None:
    """A file of that size, which takes no room where the byte is zero."""
    path.touch()
    path.chmod(0o644)
    with path.open("wb") as file:
        if byte == b"\0":
            file.truncate(size)
        else:
            file.write(byte * size)


def listed(place: Path, name: str) -> None:
    """Let the manifest have the file as it is."""
    path = place / "MANIFEST.json"
    manifest = orjson.loads(path.read_bytes())
    for file in manifest["files"]:
        if file["name"] == name:
            with (place / name).open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            file |= {"bytes": (place / name).stat().st_size, "sha256": digest}
    content = orjson.dumps(manifest)
    for each in ("MANIFEST.json", "MANIFEST.sha256"):
        (place / each).chmod(0o644)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (place / "MANIFEST.sha256").write_text(f"{digest}  MANIFEST.json\n")


UNPACKED: dict[str, Callable[[Path], None]] = {
    "a manifest of GiB": lambda place: grown(place / "MANIFEST.json"),
    "a digest of GiB": lambda place: grown(place / "MANIFEST.sha256"),
    "a program of GiB": lambda place: grown(place / "check_record.py"),
    "a segment of GiB": lambda place: grown(next(place.glob("logs/*"))),
}


@pytest.mark.parametrize("bomb", UNPACKED)
def test_what_check_py_reads(case: Path, tmp_path: Path, bomb: str) -> None:
    place = tmp_path / "case"
    subprocess.run(["cp", "-a", case, place], check=True)
    UNPACKED[bomb](place)
    code, said = run("-I", place / "check.py")
    assert (code, "ok: complete" in said) == (1, False), said


@pytest.mark.parametrize(("byte", "size"), [(b"\0", 800 << 20), (b"\n", 1 << 20)])
def test_what_check_py_reads_of_a_segment_that_its_manifest_lists(
    case: Path, tmp_path: Path, byte: bytes, size: int
) -> None:
    place = tmp_path / "case"
    subprocess.run(["cp", "-a", case, place], check=True)
    path = next(place.glob("logs/*"))
    grown(path, byte, size)
    listed(place, f"logs/{path.name}")
    code, said = run("-I", place / "check.py")
    assert code == 1, said
    assert ("it is longer than a record" in said) == (byte == b"\0"), said
    assert ("too many problems" in said) == (byte == b"\n"), said


@pytest.mark.parametrize("option", ["--policy", "--checkpoint", "--proof", "LINE"])
def test_what_an_auditor_was_given(tmp_path: Path, option: str) -> None:
    """Files of policies, checkpoints and proofs."""
    write_log(tmp_path / "audit", records=1)
    huge, small = tmp_path / "huge", tmp_path / "small"
    grown(huge)
    small.write_text("quorum none\n")
    given = {"--policy": small, option: huge}
    command = [
        "verify",
        *(str(part) for pair in given.items() for part in pair),
        tmp_path / "audit",
    ]
    if option in ("--proof", "LINE"):
        command = ["verify", "--policy", small, "--proof", huge, small]
    if option == "LINE":
        command = ["verify", "--policy", small, "--proof", small, huge]
    code, said = run("-m", "auditctl", *command)
    assert code in (1, 2, 65), said


# Servers ------------------------------------------------------------------------------------------


ASK = """
import sys
from shippers.sinks.elasticsearch.connection import FAILURES, Connection, trouble
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
try:
    Connection(ElasticsearchOptions(urls=(sys.argv[1],))).request("GET", "/")
except FAILURES as error:
    print(trouble(error).reason)
"""
FETCH = """
import sys
from auditlog.evidence.collection import from_url
from auditlog.evidence.errors import BadEvidence
try:
    from_url(sys.argv[1])
except BadEvidence as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        (ASK, "the server's answer is longer than 128 MiB"),
        (FETCH, "the note is not valid UTF-8"),
    ],
    ids=["elasticsearch", "witness"],
)
def test_an_answer(httpserver: HTTPServer, reader: str, says: str) -> None:
    packer = zlib.compressobj(1, wbits=31)
    piece = b"x" * (1 << 24)
    packed = packer.compress(b'{"a":"') + b"".join(packer.compress(piece) for _ in range(64))
    packed += packer.flush()
    headers = {
        "X-Elastic-Product": "Elasticsearch",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }
    httpserver.expect_request("/").respond_with_response(Response(packed, headers=headers))
    code, said = run("-c", reader, httpserver.url_for("/"))
    assert (code, says in said) == (0, True), said
