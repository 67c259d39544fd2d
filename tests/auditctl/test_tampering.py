"""Everything that can be done to a host's logs, and who notices it; and what nobody may accuse.

Each row of ``TAMPERINGS`` changes a copy of one host in one way and names exactly those who notice:

chain     `auditctl verify DIR`, with what the directory itself knows
cursors   `auditctl verify` with the configuration: the sinks' cursors too
sink      `auditctl verify --against` the sink
witness   `auditctl verify --policy`: checkpoints, and the witness over HTTP
status    `auditctl status`
agent     one round of continuous verification
export    `auditctl export`, and check.py in the archive
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

import auditlog
from auditctl.main import main
from auditlog.cursors import CursorStore
from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.note import Key, Note, Signer
from retention.policy import RetentionPolicy
from tests.support.logs import make_line
from tests.support.tampered_host import HIVE, QUEEN, RETENTION, TamperedHost, build, resealed
from tests.support.witnesses import answering, our_witness

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
DELETING = RetentionPolicy(HOUR, DAY, max_delete_fraction=1.0, verify_before_delete="none")
Tamper = Callable[[TamperedHost], None]
EVERYBODY = "chain cursors sink witness status agent export"
READERS = "chain cursors sink witness agent export"
"""All who read every record; status reads names and ends only."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TamperedHost]:
    place = tmp_path_factory.mktemp("host")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AUDITLOG_")]:
            patch.delenv(name)
        witnesses = []

        def witness(keys: list[Key]) -> str:
            witnesses.append(our_witness(place / "witness", keys))
            served = witnesses[0].__enter__()
            return f"witness w1 {served.key} {served.url}\nquorum w1\n"

        try:
            yield build(place, witness)
        finally:
            for each in witnesses:
                each.__exit__(None, None, None)


@pytest.fixture
def host(original: TamperedHost, tmp_path: Path) -> Iterator[TamperedHost]:
    made = original.copy_to(tmp_path / "host")
    with made.stack:
        yield made


# Records ------------------------------------------------------------------------------------------


def edit_a_byte(host: TamperedHost) -> None:
    host.change(host.segments()[1], 2, b"alice", b"alicf")


def edit_a_byte_of_the_active_segment(host: TamperedHost) -> None:
    host.change(host.segments()[-1], 2, b"alice", b"alicf")


def edit_and_rehash_one_line(host: TamperedHost) -> None:
    path = host.segments()[1]
    lines = host.lines(path)
    lines[2] = resealed(lines[2].replace(b"alice", b"mallo", 1), "")[0]
    host.write(path, lines)


def edit_a_time(host: TamperedHost) -> None:
    host.change(host.segments()[1], 2, b"T12:00", b"T11:00")


def edit_a_salt(host: TamperedHost) -> None:
    path = host.segments()[-1]
    line = host.lines(path)[2]
    at = line.index(b'"salt":"') + 8
    host.change(path, 2, line[at : at + 22], b"A" * 22)


def delete_a_line(host: TamperedHost) -> None:
    path = host.segments()[1]
    lines = host.lines(path)
    host.write(path, [*lines[:2], *lines[3:]])


def delete_the_first_line(host: TamperedHost) -> None:
    path = host.segments()[0]
    host.write(path, host.lines(path)[1:])


def swap_two_lines(host: TamperedHost) -> None:
    path = host.segments()[1]
    lines = host.lines(path)
    host.write(path, [*lines[:2], lines[3], lines[2], *lines[4:]])


def repeat_a_line(host: TamperedHost) -> None:
    path = host.segments()[1]
    lines = host.lines(path)
    host.write(path, [*lines[:3], lines[2], *lines[3:]])


def insert_a_line_of_another_log(host: TamperedHost) -> None:
    path = host.segments()[1]
    lines = host.lines(path)
    host.write(path, [*lines[:3], host.lines(host.segments(HIVE)[0])[0], *lines[3:]])


def put_zeros_behind_a_line(host: TamperedHost) -> None:
    path = host.segments()[1]
    lines = host.lines(path)
    host.write(path, [*lines[:3], b"\0" * 80 + b"\n", *lines[3:]])


# Logs ---------------------------------------------------------------------------------------------


def rewrite_with_fitting_hashes(host: TamperedHost) -> None:
    host.rewrite()


def rewrite_the_last_record(host: TamperedHost) -> None:
    newest = host.lines(host.segments()[-1])
    index = max(n for n, line in enumerate(newest) if b'"user_id":"alice"' in line)
    host.rewrite(part=2, index=index)


def rewrite_and_fit_the_cursors(host: TamperedHost) -> None:
    host.rewrite()
    host.fit_cursors()


def rewrite_all_but_the_witness(host: TamperedHost) -> None:
    """The log, the cursors, the sink, the memory of the agent and the signer's state."""
    host.rewrite()
    host.fit_cursors()
    host.fit_sink()
    host.forget()
    shutil.rmtree(host.state / "proofs")


def cut_the_tail(host: TamperedHost) -> None:
    path = host.segments()[-1]
    host.write(path, host.lines(path)[:-2])


def cut_the_tail_and_remove_the_cursors(host: TamperedHost) -> None:
    cut_the_tail(host)
    shutil.rmtree(host.state / "cursors")
    host.forget()


def roll_back_to_an_older_copy(host: TamperedHost) -> None:
    path = host.segments()[-1]
    path.unlink()
    (host.audit / ".auditlog" / f"{QUEEN}.head").write_text(f"{host.segments()[-1].stem}\n")


def delete_the_log(host: TamperedHost) -> None:
    for path in host.segments(HIVE):
        path.unlink()


def delete_the_log_and_its_note(host: TamperedHost) -> None:
    delete_the_log(host)
    (host.audit / ".auditlog" / f"{HIVE}.head").unlink()


def delete_all_that_the_host_knows_of_the_log(host: TamperedHost) -> None:
    delete_the_log_and_its_note(host)
    (host.state / "cursors" / "main" / f"{HIVE}.cursor").unlink()
    host.forget()
    shutil.rmtree(host.state / "proofs" / HIVE)


def delete_the_directory(host: TamperedHost) -> None:
    shutil.rmtree(host.audit)


# Segments -----------------------------------------------------------------------------------------


def delete_the_first_segment(host: TamperedHost) -> None:
    host.segments()[0].unlink()


def date_the_newest_segment_in_the_future(host: TamperedHost) -> None:
    path = host.segments()[-1]
    path.rename(path.with_name(path.name.replace(path.name[len(QUEEN) + 1 :][:4], "2999")))


def append_a_record_of_the_future(host: TamperedHost) -> None:
    """In a segment of its own, with hashes that fit: retention would never come to it."""
    path = host.segments()[-1]
    last = host.lines(path)[-1]
    seq, digest = int(last.partition(b'"seq":')[2].partition(b",")[0]), last[-67:-3].decode()
    at = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)
    line, _ = make_line(QUEEN, seq + 1, digest, at=at, event_type="task_submitted")
    (host.audit / f"{QUEEN}.2999-01-01.0001.ndjson").write_bytes(line)


def delete_a_segment_in_the_middle(host: TamperedHost) -> None:
    host.segments()[1].unlink()


def delete_the_newest_segment(host: TamperedHost) -> None:
    host.segments()[-1].unlink()


def rename_a_segment_to_another_day(host: TamperedHost) -> None:
    path = host.segments()[1]
    path.rename(path.with_name(path.name.replace(path.name[len(QUEEN) + 1 :][:4], "2025")))


def rename_a_segment_to_another_log(host: TamperedHost) -> None:
    path = host.segments()[1]
    path.rename(path.with_name(path.name.replace("queen-rbee@", "queen-bee@")))


def swap_segments_of_two_logs(host: TamperedHost) -> None:
    first, second = host.segments()[-1], host.segments(HIVE)[-1]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def cut_a_compressed_segment(host: TamperedHost) -> None:
    path = host.segments()[0]
    assert path.suffix == ".zst"
    path.write_bytes(path.read_bytes()[:-20])


def flip_a_bit_of_a_compressed_segment(host: TamperedHost) -> None:
    path = host.segments()[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_a_compressed_segment_by_another(host: TamperedHost) -> None:
    first, other = host.segments()[0], host.segments(HIVE)[0]
    host.write(first, host.lines(other))


def empty_a_segment(host: TamperedHost) -> None:
    host.segments()[1].write_bytes(b"")


def replace_a_segment_by_a_link(host: TamperedHost) -> None:
    path = host.segments()[-1]
    path.rename(host.place / "elsewhere")
    path.symlink_to(host.place / "elsewhere")


def put_in_a_log_of_another_host(host: TamperedHost) -> None:
    """Allowed as far as it goes: it is a whole log."""
    with auditlog.open(host.audit, service="queen-rbee", host="mallory") as log:
        log.emit("task_submitted")


# Notes, tombstones, holds, cursors ----------------------------------------------------------------


def delete_a_note(host: TamperedHost) -> None:
    """No harm by itself: it is what shows that the newest segment is gone."""
    (host.audit / ".auditlog" / f"{QUEEN}.head").unlink()


def let_a_note_name_a_later_segment(host: TamperedHost) -> None:
    note = host.audit / ".auditlog" / f"{QUEEN}.head"
    note.write_text(note.read_text().replace(".0001.", ".0002."))


def delete_the_log_of_retention(host: TamperedHost) -> None:
    for path in host.segments(RETENTION):
        path.unlink()


def edit_a_tombstone(host: TamperedHost) -> None:
    (path,) = host.segments(RETENTION)
    number = next(n for n, line in enumerate(host.lines(path)) if b"segment_deleted" in line)
    host.change(path, number, b'"by":"', b'"bY":"')


def forge_a_tombstone(**fields: Any) -> Tamper:
    """Delete a segment, and write by hand what accounts for it, but for some fields."""

    def tamper(host: TamperedHost) -> None:
        path = host.segments()[1]
        details = {**host.tombstone(path), **fields}
        kept = {name: value for name, value in details.items() if value is not None}
        path.unlink()
        host.append(RETENTION, "retention.segment_deleted", kept)

    return tamper


def forge_a_tombstone_of_another_service(host: TamperedHost) -> None:
    path = host.segments()[1]
    details = host.tombstone(path)
    path.unlink()
    host.append(QUEEN, "retention.segment_deleted", details)


def delete_under_the_policy_of_a_foreign_host(host: TamperedHost) -> None:
    """Its retention did all that retention does; only the configuration says who belongs here."""
    host.retain(DELETING, host="mallory")
    host.ship()
    assert len(host.segments()) == 1


def delete_the_holds(host: TamperedHost) -> None:
    (host.state / "holds.json").unlink()


def edit_the_holds(host: TamperedHost) -> None:
    path = host.state / "holds.json"
    path.write_text(path.read_text().replace(HIVE, "nobody@hive1"))


def forge_a_cursor_behind_the_end(host: TamperedHost) -> None:
    store = CursorStore(host.state)
    cursor = store.load("main", QUEEN)
    assert cursor is not None
    store.save("main", dataclasses.replace(cursor, seq=cursor.seq + 50, hash="ab" * 32))


def spoil_a_cursor(host: TamperedHost) -> None:
    for path in (host.state / "cursors" / "main").glob(f"{QUEEN}.cursor*"):
        path.write_bytes(b"{}")


# Sink ---------------------------------------------------------------------------------------------


def edit_a_document(host: TamperedHost) -> None:
    changed = "UPDATE records SET line = replace(line, 'alice', 'mallo') WHERE log = ? AND seq = 8"
    host.sql(changed, QUEEN)


def delete_a_document(host: TamperedHost) -> None:
    host.sql("DELETE FROM records WHERE log = ? AND seq = 8", QUEEN)


def add_a_document(host: TamperedHost) -> None:
    host.sql(
        "INSERT INTO records SELECT log, seq + 900, day, at, event_type, hash, line FROM records"
        " WHERE log = ? AND seq = 8",
        QUEEN,
    )


# Evidence -----------------------------------------------------------------------------------------


def checkpoints_of(host: TamperedHost) -> Path:
    return host.state / "proofs" / QUEEN / "checkpoints"


def edit_a_checkpoint(host: TamperedHost) -> None:
    path = checkpoints_of(host)
    lines = path.read_bytes().splitlines(keepends=True)
    fields = orjson.loads(lines[-1])
    origin, size, rest = fields["note"].split("\n", 2)
    fields["note"] = f"{origin}\n{int(size) - 1}\n{rest}"
    path.write_bytes(b"".join([*lines[:-1], orjson.dumps(fields) + b"\n"]))


def remove_the_checkpoints(host: TamperedHost) -> None:
    """No harm by itself: the witness remembers, and the records of evidence@hive1 have them."""
    checkpoints_of(host).unlink()


def rewrite_with_the_stolen_key(host: TamperedHost) -> None:
    """Sign the log that was written anew with the host's own key, and tell no witness."""
    rewrite_all_but_the_witness(host)
    config = host.place / "thief.toml"
    config.write_text(host.config.read_text().partition("[evidence]")[0])
    assert main(["evidence", "sign", "--config", str(config)]) == 0
    assert checkpoints_of(host).exists()


def clone_the_machine(host: TamperedHost) -> None:
    """With its machine id: both copies write on, and the clone signs first."""
    host.have_a_witness_of_its_own()
    clone = host.copy_to(host.place / "clone")
    for copy, code, actor in ((clone, 0, "alice"), (host, 1, "bob")):
        with auditlog.open(copy.audit, service="queen-rbee", host="hive1") as log:
            log.emit("task_submitted", actor=actor)
        copy.ship()
        assert copy.sign() == code


def clone_the_machine_to_one_that_has_another_id(host: TamperedHost) -> None:
    """It signs nothing until it says that it is a clone; its logs are as good as they were."""
    (host.state / "proofs/machine-id").write_text(f"{'0' * 64}\n")
    write_on(host)
    assert host.sign() == 1


def let_the_witness_claim_more_records(host: TamperedHost) -> None:
    """The log is not signed any more, and whoever signs is told; nothing is wrong with it."""
    told = host.stack.enter_context(answering(lambda _: (409, b"1000000\n")))
    text = host.policy.read_text()
    host.policy.write_text(re.sub(r"http://\S+", told.url, text))
    write_on(host)
    assert host.sign() == 1
    assert (
        "has a checkpoint of 1000000 records"
        in (checkpoints_of(host).parent / "stopped").read_text()
    )
    host.policy.write_text(text)


def let_the_witness_cosign_another_root(host: TamperedHost) -> None:
    """Its cosignature is right, and of a checkpoint that the log has never signed."""
    state = host.have_a_witness_of_its_own()
    signer = Signer.parse((state / "witness.key").read_text())
    with closing(sqlite3.connect(state / "witness.sqlite")) as memory, memory:
        rows = memory.execute("SELECT origin, note FROM checkpoints").fetchall()
        for origin, kept in rows:
            note = Note.parse(bytes(kept))
            wrong = Checkpoint(origin, Checkpoint.parse(note.text).size, bytes(32)).to_bytes()
            lie = Note(wrong, note.signatures[:1]).with_signatures([signer.cosign(wrong, 1)])
            changed = "UPDATE checkpoints SET note = ? WHERE origin = ?"
            memory.execute(changed, (lie.to_bytes(), origin))


def rewrite_beside_a_witness_that_lost_its_memory(host: TamperedHost) -> None:
    """It cosigns the rewritten log; the records of evidence@hive1 have the checkpoints before."""
    state = host.have_a_witness_of_its_own()
    with closing(sqlite3.connect(state / "witness.sqlite")) as memory, memory:
        memory.execute("DELETE FROM checkpoints")
    rewrite_all_but_the_witness(host)
    assert host.sign() == 0


def edit_a_level_of_the_tree(host: TamperedHost) -> None:
    """No harm: whoever signs sees that the root is not the signed one, and builds it again."""
    host.have_a_witness_of_its_own()
    with auditlog.open(host.audit, service="queen-rbee", host="hive1", flush="batched") as log:
        for _ in range(300):
            log.emit("task_submitted", actor="alice")
    host.ship()
    assert host.sign() == 0
    host.ship()
    path = checkpoints_of(host).with_name("tree.1")
    path.write_bytes(path.read_bytes()[::-1])
    write_on(host)
    assert host.sign() == 0


def edit_the_leaves(host: TamperedHost) -> None:
    """They stand in for what was deleted under policy."""
    path = min((host.state / "proofs" / QUEEN / "leaves").iterdir())
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)


def edit_the_policy(host: TamperedHost) -> None:
    text = host.policy.read_text()
    at = text.index("log audit") + len("log audit.example.com/hive1/queen-rbee@hive1+") + 30
    other = "A" if text[at] != "A" else "B"
    host.policy.write_text(text[:at] + other + text[at + 1 :])


def ask_for_another_witness(host: TamperedHost) -> None:
    """As if the witness had lost its memory and its key: no quorum is left."""
    text = host.policy.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("witness", "quorum"))]
    key = Signer("witness.example/w2", bytes(32)).cosigner
    host.policy.write_text("\n".join([*lines, f"witness w2 {key}", "quorum w2", ""]))


TAMPERINGS: dict[str, tuple[Tamper, str]] = {
    tamper.__name__: (tamper, noticed)
    for tamper, noticed in (
        (edit_a_byte, READERS),
        (edit_a_byte_of_the_active_segment, READERS),
        (edit_and_rehash_one_line, READERS),
        (edit_a_time, READERS),
        (edit_a_salt, READERS),
        (delete_a_line, READERS),
        (delete_the_first_line, READERS),
        (swap_two_lines, READERS),
        (repeat_a_line, READERS),
        (insert_a_line_of_another_log, READERS),
        (put_zeros_behind_a_line, READERS),
        (rewrite_with_fitting_hashes, "cursors sink witness agent export"),
        (rewrite_the_last_record, "cursors sink witness agent export"),
        (rewrite_and_fit_the_cursors, "sink witness agent"),
        (rewrite_all_but_the_witness, "witness"),
        (cut_the_tail, "cursors sink witness status agent export"),
        (cut_the_tail_and_remove_the_cursors, "sink witness status"),
        (roll_back_to_an_older_copy, "cursors sink witness status agent export"),
        (delete_the_log, EVERYBODY),
        (delete_the_log_and_its_note, "cursors sink witness status agent export"),
        (delete_all_that_the_host_knows_of_the_log, "sink witness"),
        (delete_the_directory, EVERYBODY),
        (delete_the_first_segment, READERS),
        (delete_a_segment_in_the_middle, READERS),
        (delete_the_newest_segment, EVERYBODY),
        (rename_a_segment_to_another_day, READERS),
        (rename_a_segment_to_another_log, EVERYBODY),
        (date_the_newest_segment_in_the_future, READERS),
        (append_a_record_of_the_future, "status"),
        (swap_segments_of_two_logs, EVERYBODY),
        (cut_a_compressed_segment, EVERYBODY),
        (flip_a_bit_of_a_compressed_segment, EVERYBODY),
        (replace_a_compressed_segment_by_another, READERS),
        (empty_a_segment, READERS),
        (replace_a_segment_by_a_link, EVERYBODY),
        (delete_a_note, ""),
        (let_a_note_name_a_later_segment, EVERYBODY),
        (delete_the_log_of_retention, EVERYBODY),
        (edit_a_tombstone, READERS),
        (forge_a_tombstone_of_another_service, READERS),
        (delete_under_the_policy_of_a_foreign_host, "cursors sink witness agent export"),
        (delete_the_holds, "status"),
        (edit_the_holds, "status"),
        (forge_a_cursor_behind_the_end, "cursors sink witness status agent export"),
        (spoil_a_cursor, "sink status"),
        (edit_a_document, "sink"),
        (delete_a_document, "sink"),
        (add_a_document, "sink"),
        (edit_a_checkpoint, "witness"),
        (remove_the_checkpoints, ""),
        (rewrite_with_the_stolen_key, "witness"),
        (clone_the_machine, "witness"),
        (clone_the_machine_to_one_that_has_another_id, ""),
        (let_the_witness_claim_more_records, ""),
        (let_the_witness_cosign_another_root, "witness"),
        (rewrite_beside_a_witness_that_lost_its_memory, "witness"),
        (edit_a_level_of_the_tree, ""),
        (edit_the_leaves, "witness"),
        (edit_the_policy, "witness"),
        (ask_for_another_witness, "witness"),
    )
}
FORGED: dict[str, dict[str, Any]] = {
    "with_every_field_right": {},
    "without_its_policy": {"policy": None},
    "without_who_ordered_it": {"by": None},
    "of_a_schedule_with_a_given_instant": {"by": "schedule"},
    "of_a_run_before_its_time": {"at": "2026-01-01T00:00:00.000000Z"},
    "of_too_young_records": {"last_record_at": "2999-01-01T00:00:00.000000Z"},
    "of_another_range": {"last_seq": 99},
    "of_another_number_of_records": {"records": 1},
    "before_the_sink_had_it": {"cursor": {"main": 1}},
    "for_another_rule": {"rule": "mercy"},
    "of_another_log": {"log": HIVE},
    "of_another_hash": {"last_hash": "ab" * 32},
}
for _name, _fields in FORGED.items():
    # One that root makes as retention would have made it is a deletion on record, by somebody.
    TAMPERINGS[f"forge_a_tombstone_{_name}"] = (
        forge_a_tombstone(**_fields),
        READERS if _fields else "",
    )


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_noticed(host: TamperedHost, run: Callable[..., Any], name: str) -> None:
    tamper, noticed = TAMPERINGS[name]
    tamper(host)
    found = host.detect(run)
    assert " ".join(each for each in EVERYBODY.split() if each in found) == noticed


# Histories that nobody may accuse -----------------------------------------------------------------


def leave_it_alone(host: TamperedHost) -> None:
    pass


def write_on(host: TamperedHost) -> None:
    with auditlog.open(host.audit, service="queen-rbee", host="hive1") as log:
        log.emit("task_submitted", actor="alice")


def crash_within_a_line(host: TamperedHost) -> None:
    with host.segments()[-1].open("ab") as file:
        file.write(b'{"v":1,"log":"queen-rbee@hive1","seq":')


def lose_power_and_find_zeros(host: TamperedHost) -> None:
    """The size of the file was on disk, and what was written was not."""
    with host.segments()[-1].open("ab") as file:
        file.write(bytes(700))


def lose_power_and_open_again(host: TamperedHost) -> None:
    """A note was not renamed, a record is cut, and what followed it is zeros; then it goes on."""
    (host.audit / f".auditlog/.{QUEEN}.head.tmp").write_bytes(b"queen-")
    crash_within_a_line(host)
    lose_power_and_find_zeros(host)
    write_on(host)
    write_on(host)


def crash_and_open_again(host: TamperedHost) -> None:
    crash_within_a_line(host)
    write_on(host)


def compress_under_policy(host: TamperedHost) -> None:
    host.retain(RetentionPolicy(HOUR, 90 * DAY))
    assert [path.suffix for path in host.segments()] == [".zst", ".zst", ".ndjson"]


def delete_under_policy(host: TamperedHost) -> None:
    host.retain(DELETING)
    assert len(host.segments()) == 1


def delete_under_the_policy_of_a_host_of_the_fleet(host: TamperedHost) -> None:
    host.config.write_text(f'retention_hosts = ["hive9"]\n{host.config.read_text()}')
    host.retain(DELETING, host="hive9")
    host.ship()
    assert len(host.segments()) == 1


def delete_under_policy_and_lose_the_leaves(host: TamperedHost) -> None:
    delete_under_policy(host)
    shutil.rmtree(host.state / "proofs")


def delete_under_policy_at_a_given_instant(host: TamperedHost) -> None:
    policy = RetentionPolicy(DAY, 90 * DAY, max_delete_fraction=1.0, verify_before_delete="none")
    host.retain(policy, dt.datetime.now(dt.UTC) + 100 * DAY)
    assert len(host.segments()) == 1


def add_and_release_holds(host: TamperedHost) -> None:
    config = ("--config", str(host.config), "--reason", "over")
    assert main(["hold", "add", "case-8", "--owner", "legal", *config]) == 0
    assert main(["hold", "release", "case-7", *config]) == 0


def add_a_second_sink(host: TamperedHost) -> None:
    """It lacks what was deleted before it came; nobody has to be alarmed for that."""
    delete_under_policy(host)
    text = host.config.read_text().replace("[evidence]", "[sinks.copy]\n[evidence]")
    path = f'kind = "sqlite"\npath = "{host.place}/copy.sqlite"\n'
    host.config.write_text(text.replace("[sinks.copy]\n", f"[sinks.copy]\n{path}"))
    host.ship()


def lose_the_cursors(host: TamperedHost) -> None:
    shutil.rmtree(host.state / "cursors")
    host.ship()


def restore_a_copy(host: TamperedHost) -> None:
    """The directory is lost, and copied back as it was."""
    shutil.copytree(host.audit, host.place / "backup")
    shutil.rmtree(host.audit)
    shutil.copytree(host.place / "backup", host.audit)


def move_to_another_machine(host: TamperedHost) -> None:
    """A clone that says so: every log is restarted on record."""
    command = ["evidence", "restart", "--all", "--reason", "moved", "--config", str(host.config)]
    assert main(command) == 0


HARMLESS: tuple[Tamper, ...] = (
    leave_it_alone,
    write_on,
    crash_within_a_line,
    crash_and_open_again,
    lose_power_and_find_zeros,
    lose_power_and_open_again,
    compress_under_policy,
    delete_under_policy,
    delete_under_the_policy_of_a_host_of_the_fleet,
    delete_under_policy_and_lose_the_leaves,
    delete_under_policy_at_a_given_instant,
    add_and_release_holds,
    add_a_second_sink,
    lose_the_cursors,
    restore_a_copy,
    move_to_another_machine,
)


@pytest.mark.parametrize("change", HARMLESS)
def test_no_untouched_log_is_accused(
    host: TamperedHost, run: Callable[..., Any], change: Tamper
) -> None:
    change(host)
    assert host.detect(run) == set()
