from __future__ import annotations

from pathlib import Path

import pytest

from auditctl.composition.sources import make_sources
from auditctl.config.model import Config, load
from auditctl.errors import ConfigError
from shippers.sources.journald.options import JournaldOptions
from shippers.sources.journald.source import JournaldSource

LEAST = """
directories = ["/var/log/llama-orch/audit"]
[[sources.ndjson]]
name = "worker"
paths = ["/var/log/worker/*.log*"]
"""


def loaded(tmp_path: Path, text: str, **more: str) -> Config:
    (tmp_path / "conf.d").mkdir(exist_ok=True)
    (tmp_path / "config.toml").write_text(text)
    for name, content in more.items():
        (tmp_path / "conf.d" / f"{name}.toml").write_text(content)
    return load(tmp_path / "config.toml", environ={})


def test_named(tmp_path: Path) -> None:
    """named: every source has a name of its own that can stand in an index name"""
    (source,) = loaded(tmp_path, LEAST).sources
    assert (source.kind, source.name) == ("ndjson", "worker")
    assert source.paths == ("/var/log/worker/*.log*",)
    for name in ("audit", "audit-x", "Worker", "a.b", "-a", ""):
        with pytest.raises(ConfigError, match="name") as raised:
            loaded(tmp_path, LEAST.replace('"worker"', f'"{name}"'))
        assert raised.value.path == tmp_path / "config.toml"
    with pytest.raises(ConfigError, match="that have a name"):
        loaded(tmp_path, LEAST.replace('name = "worker"', ""))


def test_unknown_key(tmp_path: Path) -> None:
    """unknown_key: an unknown kind or key is an error naming the file and the nearest one"""
    with pytest.raises(ConfigError, match="no setting path of a source") as raised:
        loaded(tmp_path, LEAST + 'path = "/x"\n')
    assert "paths" in str(raised.value)
    with pytest.raises(ConfigError, match=r"sources\.ndjsn is not a kind of source"):
        loaded(tmp_path, LEAST.replace("sources.ndjson", "sources.ndjsn"))
    with pytest.raises(ConfigError, match="has to be tables"):
        loaded(tmp_path, "[sources]\nndjson = 5\n")
    with pytest.raises(ConfigError, match="not a kind of source"):
        loaded(tmp_path, "sources = 5\n")
    with pytest.raises(ConfigError, match="paths is missing"):
        loaded(tmp_path, '[[sources.ndjson]]\nname = "a"\n')
    with pytest.raises(ConfigError, match="begin with /"):
        loaded(tmp_path, '[[sources.ndjson]]\nname = "a"\npaths = ["x"]\n')
    with pytest.raises(ConfigError, match="between 1 KiB and 64 MiB"):
        loaded(tmp_path, LEAST + 'max_line_bytes = "1B"\n')


def test_conf_d_adds_sources_and_replaces_single_settings(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        LEAST,
        one='[[sources.ndjson]]\nname = "other"\npaths = ["/b"]\n',
        two='[[sources.ndjson]]\nname = "worker"\nmax_line_bytes = "2MiB"\n',
    )
    other, worker = config.sources
    assert (other.name, other.paths) == ("other", ("/b",))
    assert (worker.paths, worker.max_line_bytes) == (("/var/log/worker/*.log*",), 2 << 20)
    assert [source.name for source in make_sources(config)] == ["other", "worker"]


def test_the_journal_of_some_units(tmp_path: Path) -> None:
    text = """
    [[sources.journald]]
    name = "journal"
    units = ["queen-rbee.service"]
    directory = "/var/log/journal/remote"
    since = "-7d"
    """
    config = loaded(tmp_path, text)
    (source,) = make_sources(config)
    assert isinstance(source, JournaldSource)
    command = source.options.command(follow=True)
    assert "--unit=queen-rbee.service" in command
    assert "--directory=/var/log/journal/remote" in command
    assert source.options.since == "-7d"
    # That of this host, of every boot, and no other machine's beside it.
    command = JournaldOptions("journal", ("a.service",)).command(follow=True)
    assert {
        "--follow",
        "--merge",
        f"_MACHINE_ID={Path('/etc/machine-id').read_text().strip()}",
    } <= set(command)
    with pytest.raises(ConfigError, match="units is missing"):
        loaded(tmp_path, '[[sources.journald]]\nname = "a"\n')
    with pytest.raises(ConfigError, match="another source has this name"):
        loaded(tmp_path, LEAST + text.replace('"journal"', '"worker"'))


def test_no_sources_are_none(tmp_path: Path) -> None:
    for text in ("", "[sources]\n", "[sources]\nndjson = []\n"):
        assert loaded(tmp_path, text).sources == ()
