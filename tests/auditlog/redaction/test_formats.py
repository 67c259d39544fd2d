from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from auditlog.redaction.formats import FORMATS, Format, find_formats, has_checksum

_BEFORE_AND_AFTER = st.sampled_from(
    [("", ""), ("see ", " now"), ('"', '"'), ("x=", "&y=1"), ("%3D", "")]
)


def _rules(text: str) -> set[str]:
    hits: list[tuple[int, int, str]] = []
    find_formats(text, hits)
    return {rule for _, _, rule in hits}


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: f"{row.rule}: {row.issuer}")
@given(st.data(), _BEFORE_AND_AFTER)
@settings(max_examples=5, suppress_health_check=list(HealthCheck), deadline=None)
def test_found(row: Format, data: st.DataObject, around: tuple[str, str]) -> None:
    pattern = re.sub(r"\{(\d+),\d+\}", r"{\1}", row.pattern)  # the least length
    example = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
    assume(row.check is None or row.check(example))
    text = example.join(around)
    hits: list[tuple[int, int, str]] = []
    find_formats(text, hits)
    left = list(text)
    for start, end, _ in hits:
        left[start:end] = "*" * (end - start)
    assert example[len(example) // 2 : -2] not in "".join(left)


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: f"{row.rule}: {row.issuer}")
@given(st.data())
@settings(max_examples=5, suppress_health_check=list(HealthCheck), deadline=None)
def test_near_miss(row: Format, data: st.DataObject) -> None:
    """Of the least length, but one: too short to be one of them."""
    pattern = re.sub(r"\{(\d+),\d+\}", r"{\1}", row.pattern)
    example = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
    assert row.rule not in _rules(example[: min(10, len(example) // 2)])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ghp_installation_instructions_for_all",
            "npm_installedpackages12",
            "sk-learn-model-v1-2024",
        ),
        *(
            "hf_hub_download_and_upload_folder",
            "glpat-short",
            "AKIATOOSHORT",
            "task-sk-0123456789abcdef",
        ),
        *(
            "secret_management_in_kubernetes_clusters",
            "key-0123456789abcdef",
            "eyJ.eyJ",
            "v2.local.host",
        ),
        *("QmYwAPJzv5CZsnAzt8auVZRn1nsPoRaN4kqV9xYz", "s.abcdefghijklmnopqrstuvwx", "dp.pt.short"),
        *("xai-grok-beta-2024-11-05-preview-model", "gsk_document_processing_pipeline"),
    ],
)
def test_a_name_that_begins_like_a_token_is_left_alone(text: str) -> None:
    assert _rules(text) == set()


def test_the_checksum_is_that_of_a_real_token() -> None:
    """The example of GitHub's own description, long revoked."""
    token = "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"
    assert has_checksum(token)
    assert has_checksum(token.replace("ghp_", "npm_"))
    for index in range(4, len(token)):
        other = "a" if token[index] != "a" else "b"
        assert not has_checksum(token[:index] + other + token[index + 1 :])
    assert has_checksum(token[:-1]) is False


@pytest.mark.parametrize("around", ["x{}", "{}_old", "{}abc", "a_{}", "my{}Backup"])
@pytest.mark.parametrize(("prefix", "rule"), [("ghp", "github_token"), ("npm", "npm_token")])
def test_a_token_with_its_checksum_is_found_whatever_stands_around_it(
    prefix: str, rule: str, around: str
) -> None:
    token = f"{prefix}_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"
    hits: list[tuple[int, int, str]] = []
    find_formats(around.format(token), hits)
    begin = around.index("{}")
    assert any(
        found == rule and start <= begin and end >= begin + len(token) for start, end, found in hits
    )


def test_a_name_that_is_as_long_as_a_token_has_no_checksum() -> None:
    assert _rules("xghp_installation0instructions1for2all3repos_old") == set()


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("abcdefghijklmnopqrstuCw5", {"vault_token"}),
        ("abcd5efghijklmnopqrstuvw", set()),  # changes but twice: words with a number
        ("abCdefGhijkLmnopqRstuvwx", set()),  # words, without any number
    ],
)
def test_a_short_prefix_alone_makes_no_token_of_a_name_in_words(name: str, rules: set[str]) -> None:
    assert _rules(f"s.{name}") == rules


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("eyJhbGciOiJ.eyJzdWIi", {"jwt"}),
        ("release-notes.eyJhbGciOiJ", set()),  # a part, with none after it
        ("release-notes.eyJab.appendix", set()),  # too short for the header of a token
    ],
)
def test_a_web_token_has_at_least_two_parts(text: str, rules: set[str]) -> None:
    assert _rules(text) == rules


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("Qm7Zk" * 8, set()),  # the alphabet and the beginning of a content identifier
        ("Q07Zk" * 8, {"random_40"}),  # that alphabet has no zero
        ("km7Zb" * 8, {"random_40"}),  # no identifier begins so
    ],
)
def test_forty_random_characters_are_a_key_unless_they_are_a_content_identifier(
    text: str, rules: set[str]
) -> None:
    assert _rules(text) == rules
