"""Whatever is changed in an export, check.py gives a verdict, and not that it is complete."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditctl.export import check as checker
from tests.auditctl.export.test_bundle import check, write_manifest
from tests.support.signed_host import SignedHost

SOURCE = compile(Path(checker.__file__).read_bytes(), "check.py", "exec")
OPTIONS = st.sampled_from([(), ("--policy",)])


@pytest.fixture(scope="module")
def exported(original: SignedHost) -> Path:
    """With answers, checkpoints, and hashes for records that are not in it."""
    place = original.export("--since", "2026-11-24", "--query", "seq>7")
    for options in ((), ("--policy",)):
        code, said = verdict(place, original.policy, options)
        assert (code, "ok: complete" in said) == (0, True), said
    return place


def verdict(place: Path, policy: Path, options: tuple[str, ...]) -> tuple[int, str]:
    """Return exit code and output of the program, run in this process to save time."""
    module, out = ModuleType("check"), io.StringIO()
    module.__file__ = str(place / "check.py")
    exec(SOURCE, module.__dict__)
    with contextlib.redirect_stdout(out):
        code = module.main([*options, *([str(policy)] if options else [])])
    return code, out.getvalue()


def names_in(place: Path) -> list[str]:
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


@contextlib.contextmanager
def changed(place: Path, name: str, content: bytes | None) -> Any:
    """One file with other content, or without it, for as long as the context lasts."""
    path = place / name
    before = path.read_bytes()
    path.unlink()
    try:
        if content is not None:
            path.write_bytes(content)
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(before)


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes | None:
    """The content of a file after a bit, a few bytes, the end or everything was changed."""
    kind = draw(st.sampled_from(["bit", "cut", "delete", "insert", "repeat", "random"]))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    if kind == "bit" and data:
        mutated = bytearray(data)
        mutated[at] ^= 1 << draw(st.integers(0, 7))
        return bytes(mutated)
    if kind == "cut":
        return data[:at] if data else None
    if kind == "insert":
        return data[:at] + draw(st.binary(min_size=1, max_size=9)) + data[at:]
    if kind == "repeat":
        return data + data + b"\n"
    if kind == "random":
        return draw(st.binary(max_size=99).filter(lambda made: made != data))
    return None


@given(data=st.data(), options=OPTIONS)
@settings(max_examples=100, deadline=None)
def test_every_change_of_a_file_is_found(
    exported: Path, original: SignedHost, data: st.DataObject, options: tuple[str, ...]
) -> None:
    name = data.draw(st.sampled_from(names_in(exported)))
    content = data.draw(mutations((exported / name).read_bytes()))
    with changed(exported, name, content):
        code, said = verdict(exported, original.policy, options)
    assert (code, "ok: complete" in said) == (1, False), said


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each value within a JSON value."""
    found = [at]
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(each, (*at, key))
    return found


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    made = value.copy()
    made[at[0]] = replaced(value[at[0]], at[1:], new)
    return made


VALUES = st.sampled_from(
    [
        *(None, True, -1, 0, 1, 2**63, 10**18, 1e308, "", "x" * 9999, [], {}, [[]], [None] * 9),
        *("\0\x1b[2Jok: complete", "../../etc/passwd", {"a": 1}),
    ]
)


@given(data=st.data(), options=OPTIONS)
@settings(max_examples=150, deadline=None)
def test_every_value_of_the_manifest_gets_a_verdict(
    exported: Path, original: SignedHost, data: st.DataObject, options: tuple[str, ...]
) -> None:
    """By somebody who states the digest of what it was changed to; nothing printed steers."""
    content = (exported / "MANIFEST.json").read_bytes()
    manifest = orjson.loads(content)
    at = data.draw(st.sampled_from(places(manifest)))
    try:
        write_manifest(exported, orjson.dumps(replaced(manifest, at, data.draw(VALUES))))
        code, said = verdict(exported, original.policy, options)
    finally:
        write_manifest(exported, content)
    assert code in (0, 1)
    assert said.replace("\n", "").isprintable()
    assert code == 1 or said.endswith("\nok: complete and unchanged\n")


@pytest.mark.parametrize("lie", ["\x1b[2J", "\nok: complete and unchanged", "\u202e", "\udcff"])
def test_what_an_export_has_in_it_steers_no_terminal(
    exported: Path, original: SignedHost, lie: str
) -> None:
    content = (exported / "MANIFEST.json").read_bytes()
    manifest = orjson.loads(content)
    manifest["logs"][0]["begins"] = lie
    manifest["logs"][0]["findings"] = [{"kind": "x", "detail": lie}]
    try:
        write_manifest(exported, json.dumps(manifest).encode())
        code, said = verdict(exported, original.policy, ())
    finally:
        write_manifest(exported, content)
    assert (code, "ok: complete" in said.splitlines()) == (1, False)
    assert said.replace("\n", "").isprintable()
    assert "\nok: complete" not in said


@pytest.mark.parametrize(
    "content",
    [
        b'{"files":' + b"[" * 100_000,
        b'{"files":[],"asked":{},"logs":[{"log":"x","first_seq":' + b"9" * 5000 + b"}]}",
        b'{"files":[],"asked":{},"logs":[{"log":"x","first_seq":1e999}]}',
        b"[" + b"[]," * 2_100_000 + b"[]]",
        b" " * (65 << 20),
        '{"files":[]}'.encode("utf-16"),
    ],
    ids=["nested", "number", "infinite", "values", "long", "utf-16"],
)
def test_every_manifest_gets_a_verdict(
    exported: Path, original: SignedHost, content: bytes
) -> None:
    before = (exported / "MANIFEST.json").read_bytes()
    try:
        write_manifest(exported, content)
        code, said = verdict(exported, original.policy, ("--policy",))
    finally:
        write_manifest(exported, before)
    assert (code, "ok: complete" in said) == (1, False), said


def test_every_kind_of_file_gets_a_verdict(exported: Path, tmp_path: Path) -> None:
    """A pipe would be read for ever, a link leads elsewhere, and a name may be no text."""
    for name in ("MANIFEST.json", "README.txt", "MANIFEST.sha256"):
        for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
            place = tmp_path / "case"
            shutil.copytree(exported, place)
            (place / name).unlink()
            make(place / name)
            code, said = check(place)
            assert (code, "ok: complete" in said) == (1, False)
            shutil.rmtree(place)
    shutil.copytree(exported, tmp_path / "case")
    (tmp_path / "case" / os.fsdecode(b"\xff\x1b[2J")).touch()
    code, said = check(tmp_path / "case")
    assert (code, "it does not belong here" in said) == (1, True)


@pytest.mark.parametrize("bad", [b"\xff", b"{}", b"\xff\n" * 3])
def test_a_checkpoint_that_is_none_is_a_problem(
    exported: Path, original: SignedHost, bad: bytes
) -> None:
    """Where the manifest lists it as it is."""
    name = next(name for name in names_in(exported) if name.startswith("checkpoints/queen"))
    before = (exported / "MANIFEST.json").read_bytes()
    origin = (exported / name).read_bytes().partition(b"\n")[0]
    content = origin + b"\n" + bad
    manifest = orjson.loads(before)
    for file in manifest["files"]:
        if file["name"] == name:
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        with changed(exported, name, content):
            write_manifest(exported, orjson.dumps(manifest))
            code, said = verdict(exported, original.policy, ("--policy",))
    finally:
        write_manifest(exported, before)
    assert (code, f"{name}: " in said) == (1, True), said
