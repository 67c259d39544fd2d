"""`auditctl evidence` and `auditctl prove`: from a key to a proof that needs nothing else."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from auditlog.evidence.note import Key
from auditlog.evidence.policy import TrustPolicy
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.witness import WitnessedLogs
from auditlog.reading.selection import read
from tests.auditlog.evidence.test_judges import says
from tests.support.logs import LogBuilder, write_log
from tests.support.programs import require
from tests.support.tsa import authority
from tests.support.witnesses import our_witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

LOG = "queen-rbee@hive1"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_log(tmp_path / "audit", LOG, records=10)
    path = tmp_path / "config.toml"
    path.write_text(
        f'directories = ["{tmp_path}/audit"]\nstate_dir = "{tmp_path}/state"\nhost = "hive1"\n'
    )
    monkeypatch.setenv("AUDITLOG_CONFIG", str(path))
    return path


def make_key(run: Callable[..., Result]) -> list[Key]:
    made = run("evidence", "init", "--origin", "audit.example.com/hive1")
    assert made.code == 0
    return [Key.parse(line.removeprefix("log ")) for line in made.out.splitlines()]


def test_init_makes_a_key_that_its_owner_alone_can_read(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    made = run("evidence", "init", "--origin", "audit.example.com/hive1")
    path = tmp_path / "state/evidence.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "SHA-256 of the public key: " in made.err
    names = [Key.parse(line.removeprefix("log ")).name for line in made.out.splitlines()]
    assert names == [f"audit.example.com/hive1/{log}" for log in ("evidence@hive1", LOG)]
    secret = path.read_text()
    assert secret.strip().split("+", 4)[4] not in made.out + made.err
    again = run("evidence", "init")
    assert (again.code, again.out) == (0, made.out)
    assert path.read_text() == secret
    other = run("evidence", "init", "--origin", "elsewhere.example")
    assert other.code == 65
    assert "there is a key for audit.example.com/hive1 already" in other.err


def test_init_and_sign_use_the_origin_that_is_configured(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    config.write_text(f'{config.read_text()}[evidence]\norigin = "audit.example.com/fleet/hive1"\n')
    refused = run("evidence", "init", "--origin", "elsewhere.example")
    assert (refused.code, refused.out) == (65, "")
    made = run("evidence", "init")
    names = [Key.parse(line.removeprefix("log ")).name for line in made.out.splitlines()]
    assert names == [f"audit.example.com/fleet/hive1/{log}" for log in ("evidence@hive1", LOG)]
    signed = run("evidence", "sign", "--json").json
    assert signed["origin"] == "audit.example.com/fleet/hive1"
    policy = tmp_path / "trust.policy"
    policy.write_text(f"{made.out}quorum none\n")
    assert run("verify", "--config", config, "--policy", policy).code == 0


def test_lines_for_a_policy_are_whole_on_a_terminal(
    run: Callable[..., Result], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert len(make_key(run)) == 2


def test_init_prints_one_line_with_which_a_witness_takes_every_log_of_the_host(
    run: Callable[..., Result], config: Path
) -> None:
    key = make_key(run)[1]
    (line,) = run("evidence", "init", "--for-witness").out.splitlines()
    logs = WitnessedLogs(line)
    assert logs.keys_of(key.name) == (key,)
    assert len(logs.keys_of("audit.example.com/hive1/queen-rbee@hive1/17")) == 1
    assert logs.keys_of("audit.example.com/hive2/queen-rbee@hive1") == ()


def test_sign_and_status_say_how_far_each_log_is_signed(
    run: Callable[..., Result], config: Path
) -> None:
    assert run("evidence", "sign").code == 65, "without a key"
    make_key(run)
    signed = run("evidence", "sign")
    assert signed.code == 0
    assert f"ok     {LOG}: signed through seq 10 at " in signed.out
    status = run("evidence", "status", "--json").json
    assert (status["schema"], status["ok"]) == ("auditctl.evidence/1", True)
    assert [row["log"] for row in status["logs"]] == ["evidence@hive1", LOG]
    assert status["logs"][1]["signed_seq"] == 10
    assert run("verify").code == 0, "the log of checkpoints is one like any other"


def test_with_a_witness_everything_that_was_signed_is_witnessed(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    keys = make_key(run)
    with our_witness(tmp_path / "w1", keys) as witness:
        policy = tmp_path / "trust.policy"
        lines = [f"log {key}" for key in keys]
        lines += [f"witness w1 {witness.key} {witness.url}", "quorum w1", ""]
        policy.write_text("\n".join(lines))
        TrustPolicy.parse(policy.read_bytes())
        with config.open("a") as stream:
            stream.write(f'[evidence]\npolicy = "{policy}"\n')
        signed = run("evidence", "sign", "--wait", "30s")
        assert signed.code == 0, signed.err
        assert "witnessed through seq 10 at " in signed.out
        assert " by w1" in signed.out
        proven = run("verify", "--policy", policy, "--max-age", "1h")
        assert proven.code == 0, proven.out
        assert "witnessed through seq 10 at " in proven.out
    proof, line = tmp_path / "p.tlog-proof", tmp_path / "line"
    assert run("prove", LOG, "7", "-o", proof).code == 0
    lines_ = (tmp_path / "audit").glob(f"{LOG}*.ndjson")
    line.write_bytes(next(iter(lines_)).read_bytes().splitlines(keepends=True)[6])
    checked = run("verify", "--proof", proof, "--policy", policy, line)
    assert (checked.code, checked.err) == (0, "")
    assert f"ok     record 7 of audit.example.com/hive1/{LOG}; witnessed at " in checked.out
    line.write_bytes(line.read_bytes().replace(b"alice", b"mallo"))
    refused = run("verify", "--proof", proof, "--policy", policy, line, "--json")
    assert refused.code == 1
    assert refused.json["ok"] is False


def test_retention_deletes_nothing_that_no_quorum_has_witnessed(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    log = LogBuilder(tmp_path / "audit", "rbee-hive@hive1")
    for _ in range(3):
        log.append(5)
        log.rotate(days=1)
    log.append()
    log.compress(0)
    log.compress(1)

    def reasons() -> list[str]:
        asked = ("--dry-run", "--at", "2028-01-01T00:00:00Z", "--json")
        actions = run("prune", *asked).json["actions"]
        return [f"{a['action']} {a['reason']}" for a in actions if a["log"] == "rbee-hive@hive1"]

    assert reasons() == ["delete age", "delete age", "delete age", "keep active"]
    keys = make_key(run)
    with our_witness(tmp_path / "w1", keys) as witness:
        policy = tmp_path / "trust.policy"
        lines = [f"log {key}" for key in keys]
        policy.write_text(
            "\n".join([*lines, f"witness w1 {witness.key} {witness.url}", "quorum w1", ""])
        )
        with config.open("a") as stream:
            stream.write(f'[evidence]\npolicy = "{policy}"\n')
        assert reasons() == [
            "keep not_witnessed",
            "keep not_witnessed",
            "compress age",
            "keep active",
        ]
        run("evidence", "sign", "--wait", "60s")
        assert reasons() == ["delete age", "delete age", "delete age", "keep active"]


def test_prove_says_when_a_record_is_in_no_checkpoint_yet(
    run: Callable[..., Result], config: Path
) -> None:
    make_key(run)
    run("evidence", "sign")
    assert run("prove", LOG, "10").out.startswith("c2sp.org/tlog-proof@v1\nindex 9\n")
    late = run("prove", LOG, "11")
    assert late.code == 2
    assert "record 11 of queen-rbee@hive1 is in no checkpoint yet" in late.err


def test_restart_is_on_record_and_gives_the_log_another_origin(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    make_key(run)
    run("evidence", "sign")
    assert run("evidence", "restart", "--reason", "x").code == 2
    assert run("evidence", "restart", "other@hive1", "--reason", "x").code == 2
    with ProofState(tmp_path / "state").locked():
        busy = run("evidence", "restart", LOG, "--reason", "x")
    assert busy.code == 75
    assert "another process signs here" in busy.err
    restarted = run("evidence", "restart", LOG, "--reason", "restored from the backup of Monday")
    assert restarted.code == 0, restarted.err
    assert f"/{LOG}~e2+" in restarted.out
    found = run("search", "event_type=evidence.restarted", "--json")
    assert "restored from the backup of Monday" in found.out
    assert run("evidence", "sign").code == 0
    policy = tmp_path / "policy"
    policy.write_text(run("evidence", "init").out + "quorum none\n")
    assert f"{LOG}~e2" in policy.read_text()
    assert run("verify", "--policy", policy).code == 0


def test_a_machine_that_is_a_clone_signs_nothing_until_it_says_so(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    make_key(run)
    run("evidence", "sign")
    (tmp_path / "state/proofs/machine-id").write_text("another\n")
    refused = run("evidence", "sign")
    assert refused.code == 1
    assert "two machines must not sign one log" in refused.err
    assert run("evidence", "restart", "--all", "--reason", "this one replaces it").code == 0
    assert run("evidence", "sign").code == 0


def test_export_tiles_writes_every_tree_that_was_asked_for(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    nothing = run("export", "--tiles", tmp_path / "tiles")
    assert (nothing.code, "no log that was asked for is signed" in nothing.err) == (2, True)
    key = make_key(run)[1]
    run("evidence", "sign")
    made = run("export", "--tiles", tmp_path / "tiles")
    assert made.code == 0
    assert f"{tmp_path}/tiles/{LOG}: the tree of 10 records\n" in made.out
    assert {path.name for path in (tmp_path / "tiles").iterdir()} == {LOG, "evidence@hive1"}
    judged = says("tilesjudge", tmp_path / "tiles" / LOG, key)
    assert judged == "OK 10 leaves, 10 entries\n"
    again = run("export", "--tiles", tmp_path / "tiles")
    assert (again.code, "is not empty" in again.err) == (2, True)
    [segment] = (tmp_path / "audit").glob(f"{LOG}.*")
    segment.write_bytes(segment.read_bytes().replace(b"alice", b"mallo", 1))
    damaged = run("export", "--tiles", tmp_path / "two", "--log", LOG, "--json")
    assert damaged.code == 3
    [tree] = damaged.json["trees"]
    assert (tree["log"], tree["records"], tree["entries"]) == (LOG, 10, 0)
    assert says("tilesjudge", tmp_path / "two" / LOG, key) == "OK 10 leaves, 0 entries\n"


@pytest.mark.parametrize("options", [
    (),
    ("--tiles", "t", "-o", "f.csv"),
    ("--tiles", "t", "--since", "today"),
])  # fmt: skip
def test_export_takes_a_file_or_tiles(
    run: Callable[..., Result], config: Path, options: tuple[str, ...]
) -> None:
    assert run("export", *options).code == 2


def test_sign_has_the_log_of_checkpoints_stamped_and_status_says_so(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    require("openssl")
    make_key(run)
    text = config.read_text()
    with authority(tmp_path / "tsa") as tsa:
        config.write_text(
            f'{text}[evidence]\ntimestamps = "{tsa.url}"\ntimestamps_ca = "{tsa.ca_file}"\n'
        )
        signed = run("evidence", "sign")
    assert signed.code == 0
    own, other = signed.out.splitlines()
    assert "; time-stamped through seq 3 at " in own
    assert "time-stamped" not in other
    rows = run("evidence", "status", "--json").json["logs"]
    assert {row["log"]: row["stamped_seq"] for row in rows} == {"evidence@hive1": 3, LOG: 0}
    policy = tmp_path / "trust.policy"
    policy.write_text(f"{run('evidence', 'init').out}quorum none\n")
    command = ("verify", "--config", config, "--policy", policy)
    verified = run(*command)
    assert verified.code == 0
    assert "\n       existed through seq 3 at 20" in verified.out
    found = {log["log"]: log for log in run(*command, "--json").json["logs"]}
    assert (found[LOG]["stamped_through_seq"], found[LOG]["stamped_at"]) == (0, None)
    assert found["evidence@hive1"]["stamped_through_seq"] == 3
    with authority(tmp_path / "another") as another:
        unproven = run(*command, "--tsa-ca", another.ca_file)
    assert (unproven.code, "existed" in unproven.out) == (0, False)
    assert "3.tsr proves nothing" in unproven.err


@pytest.mark.parametrize("setting", [
    'timestamps = "https://tsa.example/"',
    'timestamps_ca = "/etc/auditlog/tsa.pem"',
    'timestamps = "tsa.example"\ntimestamps_ca = "/etc/auditlog/tsa.pem"',
])  # fmt: skip
def test_an_authority_needs_a_url_and_its_certificates(
    run: Callable[..., Result], config: Path, setting: str
) -> None:
    config.write_text(f"{config.read_text()}[evidence]\n{setting}\n")
    refused = run("evidence", "status")
    assert (refused.code, "evidence.timestamps" in refused.err) == (65, True)


def test_rotate_signs_with_both_keys_until_it_is_finished(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    old = make_key(run)
    policies = {name: tmp_path / f"{name}.policy" for name in ("old", "both", "revoked")}
    log = LogBuilder(tmp_path / "audit", "rbee-hive@hive1")
    log.append(3)

    def accepted() -> set[str]:
        """By which policies the logs as they are now are proven."""
        signed = run("evidence", "sign", "--wait", "60s")
        assert signed.code == 0, signed.out + signed.err
        return {
            name
            for name, path in policies.items()
            if path.exists() and run("verify", "--config", config, "--policy", path).code == 0
        }

    with our_witness(tmp_path / "witness", old) as ours:
        end = f"witness w1 {ours.key} {ours.url}\nquorum w1\n"
        listed = tmp_path / "witness/logs"

        def lines() -> str:
            printed = run("evidence", "init").out
            listed.write_text(printed)
            return printed + end

        config.write_text(f'{config.read_text()}[evidence]\npolicy = "{policies["both"]}"\n')
        policies["both"].write_text(lines())
        policies["old"].write_text(policies["both"].read_text())
        assert accepted() == {"old", "both"}
        assert run("evidence", "rotate", "--finish", "--reason", "x").code == 65
        rotated = run("evidence", "rotate", "--reason", "yearly")
        assert rotated.code == 0, rotated.err
        secrets_ = [tmp_path / f"state/evidence.key{end}" for end in ("", ".previous")]
        assert [stat.S_IMODE(path.stat().st_mode) for path in secrets_] == [0o600, 0o600]
        assert run("evidence", "rotate", "--reason", "again").code == 65
        assert lines() == rotated.out + end
        keys = [Key.parse(line.removeprefix("log ")) for line in rotated.out.splitlines()]
        new = [key for key in keys if key.public != old[0].public]
        assert len(keys) == 2 * len(new) == 6
        policies["both"].write_text(rotated.out + end)
        log.append(3)
        assert accepted() == {"old", "both"}
        finished = run("evidence", "rotate", "--finish", "--reason", "told everybody")
        assert finished.code == 0, finished.err
        assert not secrets_[1].exists()
        printed, _, revoked = finished.out.removesuffix("\n").rpartition("\n")
        assert f"{printed}\n" == rotated.out
        listed.write_text(finished.out)
        log.append(3)
        policies["revoked"].write_text(f"{policies['both'].read_text()}{revoked}\n")
        assert accepted() == {"both", "revoked"}
        status = run("evidence", "status", "--json").json
        assert status["ok"]
    records = {
        record.event_type: record.fields
        for record in read(tmp_path / "audit", log_events=True)
        if record.event_type.startswith("evidence.key_")
    }
    assert list(records) == ["evidence.key_rotated", "evidence.key_retired"]
    details = records["evidence.key_rotated"]["details"]
    assert Key.parse(details["old"]).public == old[0].public
    assert Key.parse(details["new"]).public == new[0].public
    assert records["evidence.key_retired"]["reason"] == "told everybody"
