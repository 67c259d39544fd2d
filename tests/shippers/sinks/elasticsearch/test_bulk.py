from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.index_names import IndexNames
from shippers.item import Document
from shippers.outcome import INDEXED, OutcomeKind
from shippers.sinks.elasticsearch.bulk import (
    CONFLICT,
    bulk_body,
    document_id,
    index_of,
    judge,
)
from tests.support.shipments import shipments

RECORDS = shipments(4)
IDS = [f"queen-rbee@hive1:{seq}" for seq in range(1, 5)]


def item(doc_id: str, status: object = 201, kind: str = "", reason: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = {"_id": doc_id, "status": status}
    if kind:
        answer["error"] = {"type": kind, "reason": reason}
    return {"create": answer}


def test_verbatim() -> None:
    """verbatim: each line is in the body as it is, each preceded by its action"""
    two_logs = RECORDS + shipments(2, "rbee-hive@gpu-1.example.org+2")
    lines = bulk_body(two_logs, IndexNames("audit")).splitlines(keepends=True)
    assert lines[1::2] == [record.line for record in two_logs]
    actions = [orjson.loads(line) for line in lines[0::2]]
    assert actions == [
        {"create": {"_index": "audit-2026.11.23", "_id": doc_id}}
        for doc_id in [
            *IDS,
            "rbee-hive@gpu-1.example.org+2:1",
            "rbee-hive@gpu-1.example.org+2:2",
        ]
    ]


def test_a_record_goes_into_the_index_of_its_own_day() -> None:
    around_midnight = shipments(2, at=dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
    first, _, second, _ = bulk_body(around_midnight, IndexNames("x")).splitlines()
    assert b'"_index":"x-2026.12.31"' in first
    assert b'"_index":"x-2027.01.01"' in second


GOOD = [item(doc_id) for doc_id in IDS]


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "text",
        {},
        {"items": None},
        {"items": {}},
        {"items": GOOD[:3]},
        {"items": [*GOOD, item("queen-rbee@hive1:5")]},
        {"items": [GOOD[1], GOOD[0], *GOOD[2:]]},
        {"items": [GOOD[0]] * 4},
        {"items": [*GOOD[:3], {"index": GOOD[3]["create"]}]},
        {"items": [*GOOD[:3], None]},
        {"items": [*GOOD[:3], {"create": {"status": 201}}]},
        {"items": [*GOOD[:3], {"create": {"_id": IDS[3]}}]},
    ],
    ids=str,
)
def test_proven(response: object) -> None:
    """proven: no outcome but RETRY comes of a response that does not answer what was sent"""
    outcomes = judge(RECORDS, response)
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.RETRY] * 4


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(IDS),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["items", "create", "_id", "status", "error", "type", "reason"]), inner
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_at_all_gives_one_outcome_a_record(response: object) -> None:
    assert len(judge(RECORDS, response)) == 4


FAULTS = [
    (201, "", OutcomeKind.INDEXED),
    (200, "", OutcomeKind.RETRY),
    (204, "", OutcomeKind.RETRY),
    (400, "document_parsing_exception", OutcomeKind.QUARANTINED),
    (400, "mapper_parsing_exception", OutcomeKind.QUARANTINED),
    (400, "strict_dynamic_mapping_exception", OutcomeKind.QUARANTINED),
    (400, "illegal_argument_exception", OutcomeKind.QUARANTINED),
    (413, "document_parsing_exception", OutcomeKind.QUARANTINED),
    (422, "document_parsing_exception", OutcomeKind.QUARANTINED),
    (401, "document_parsing_exception", OutcomeKind.RETRY),
    (409, "document_parsing_exception", OutcomeKind.RETRY),
    (400, "index_closed_exception", OutcomeKind.RETRY),
    (400, "validation_exception", OutcomeKind.RETRY),
    (401, "security_exception", OutcomeKind.RETRY),
    (403, "security_exception", OutcomeKind.RETRY),
    (403, "cluster_block_exception", OutcomeKind.RETRY),
    (404, "index_not_found_exception", OutcomeKind.RETRY),
    (418, "never_seen_exception", OutcomeKind.RETRY),
    (429, "es_rejected_execution_exception", OutcomeKind.RETRY),
    (429, "cluster_block_exception", OutcomeKind.RETRY),
    (500, "document_parsing_exception", OutcomeKind.RETRY),
    (503, "unavailable_shards_exception", OutcomeKind.RETRY),
    ("201", "", OutcomeKind.RETRY),
    (None, "", OutcomeKind.RETRY),
]


@pytest.mark.parametrize(("status", "kind", "expected"), FAULTS)
@pytest.mark.parametrize("place", range(4))
def test_judged(status: object, kind: str, expected: OutcomeKind, place: int) -> None:
    """judged: every item decides its own record and no other"""
    items = list(GOOD)
    items[place] = item(IDS[place], status, kind, "the server's reason")
    outcomes = judge(RECORDS, {"items": items})
    assert outcomes[place].kind is expected
    assert [outcomes[n] for n in range(4) if n != place] == [INDEXED] * 3
    if expected is OutcomeKind.QUARANTINED:
        assert outcomes[place].server_message == "the server's reason"
        assert "the server's reason" not in outcomes[place].reason


@pytest.mark.parametrize(
    "reason",
    [
        "pipeline with id [x] does not exist",
        "no write index is defined for alias [a]",
        "alias [a] has several indices",
        "index [a] is a data stream",
        "unknown setting [index.x]",
    ],
)
def test_an_illegal_argument_that_is_the_clusters_is_retried(reason: str) -> None:
    items = [item(IDS[0], 400, "illegal_argument_exception", reason), *GOOD[1:]]
    assert judge(RECORDS, {"items": items})[0].kind is OutcomeKind.RETRY


@pytest.mark.parametrize(
    ("status", "kind", "throttled"),
    [
        (429, "es_rejected_execution_exception", True),
        (429, "circuit_breaking_exception", True),
        (429, "cluster_block_exception", False),
        (503, "unavailable_shards_exception", False),
        (401, "security_exception", False),
    ],
)
def test_only_too_much_work_is_a_reason_to_send_less(
    status: int, kind: str, *, throttled: bool
) -> None:
    (outcome, *_) = judge(RECORDS, {"items": [item(IDS[0], status, kind), *GOOD[1:]]})
    assert (outcome.kind, outcome.throttled) == (OutcomeKind.RETRY, throttled)


statuses = st.sampled_from([200, 201, 202, 400, 403, 409, 413, 429, 500, 599, None, "201", True])
answers = st.lists(
    st.tuples(st.sampled_from([*IDS, "queen-rbee@hive1:5", "", None]), statuses), max_size=6
)


@given(answers)
def test_a_record_is_indexed_only_where_its_own_item_says_so(
    answered: list[tuple[str | None, object]],
) -> None:
    """Fewer, more, reordered, repeated items with any status: the truth is in its place or not."""
    items = [{"create": {"_id": doc_id, "status": status}} for doc_id, status in answered]
    outcomes = judge(RECORDS, {"items": items})
    answers_what_was_sent = [doc_id for doc_id, _ in answered] == IDS
    for outcome, index in zip(outcomes, range(4), strict=True):
        proven = answers_what_was_sent and answered[index][1] == 201
        assert (outcome == INDEXED) == proven
        assert outcome.kind in ((OutcomeKind.INDEXED,) if proven else (OutcomeKind.RETRY,))


@given(st.permutations(range(4)), st.integers(0, 4), st.integers(0, 3))
def test_no_order_but_the_one_sent_proves_anything(
    order: list[int], kept: int, repeated: int
) -> None:
    items = [GOOD[index] for index in order[:kept]] + [GOOD[order[repeated]]] * (repeated > 1)
    outcomes = judge(RECORDS, {"items": items})
    proven = items == GOOD
    assert [outcome.final for outcome in outcomes] == [proven] * 4


def test_a_409_is_a_conflict_to_be_resolved_and_not_final_by_itself() -> None:
    items = [item(IDS[0], 409, "version_conflict_engine_exception"), *GOOD[1:]]
    outcome = judge(RECORDS, {"items": items})[0]
    assert outcome is CONFLICT
    assert not outcome.final


def test_a_409_without_a_type_is_a_conflict_and_one_of_another_type_is_not() -> None:
    for kind, expected in (("", CONFLICT), ("resource_already_exists_exception", None)):
        outcome = judge(RECORDS, {"items": [item(IDS[0], 409, kind), *GOOD[1:]]})[0]
        assert (outcome is CONFLICT) == (expected is CONFLICT)
        assert (outcome.kind, outcome.status) == (OutcomeKind.RETRY, 409)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ({"reason": "For input string"}, "failed to parse: For input string"),
        ({"reason": ""}, "failed to parse"),
        ({}, "failed to parse"),
        ("text", "failed to parse"),
    ],
)
def test_the_cause_is_part_of_what_the_server_says(cause: object, message: str) -> None:
    refused = item(IDS[0], 400, "document_parsing_exception", "failed to parse")
    refused["create"]["error"]["caused_by"] = cause
    assert judge(RECORDS, {"items": [refused, *GOOD[1:]]})[0].server_message == message


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (200, "", "the server accepted the document without storing it (a pipeline?)"),
        (202, "", "the server answered 202"),
        (503, "unavailable", "the server answered 503 unavailable"),
        ("201", "", "an item of the bulk response has no status"),
    ],
)
def test_a_retry_says_what_was_answered(status: object, kind: str, reason: str) -> None:
    outcome = judge(RECORDS, {"items": [item(IDS[0], status, kind), *GOOD[1:]]})[0]
    assert outcome.reason == reason
    assert outcome.status == (status if isinstance(status, int) else None)


def test_an_item_of_a_source_goes_into_the_index_of_that_source_and_day() -> None:
    at = "2026-11-23T07:12:00.000000Z"
    document = Document("journal", "journal:1", at, b'{"@timestamp":"x"}\n')
    items = [RECORDS[0], document, RECORDS[1]]
    lines = bulk_body(items, IndexNames("llama-orch-audit")).splitlines(keepends=True)
    assert lines[1::2] == [each.line for each in items]
    places = [orjson.loads(line)["create"] for line in lines[0::2]]
    assert places == [
        {"_index": index_of(each, IndexNames("llama-orch-audit")), "_id": each.id} for each in items
    ]
    assert [place["_index"] for place in places] == [
        "llama-orch-audit-2026.11.23",
        "llama-orch-journal-2026.11.23",
        "llama-orch-audit-2026.11.23",
    ]
    assert RECORDS[0].header is not None
    assert document_id(RECORDS[0].header) == IDS[0]
