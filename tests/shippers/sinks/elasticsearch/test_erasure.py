"""Documents of erased records on a real, secured cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from shippers.outcome import INDEXED
from shippers.sinks.elasticsearch.erasure import ElasticsearchErasure
from shippers.sinks.erasure import ErasedRecord
from tests.shippers.sinks.elasticsearch.test_roles import RECORDS, Actors
from tests.support.elasticsearch import SecuredCluster

pytestmark = pytest.mark.elasticsearch

LOG = "queen-rbee@hive1"
DAY = "2026-11-23"


@pytest.fixture
def actors(secured_elasticsearch: SecuredCluster) -> Iterator[Actors]:
    made = Actors(secured_elasticsearch, f"llama-orch-audit-{uuid.uuid4().hex[:8]}")
    assert made.sink("shipper").deliver(RECORDS) == [INDEXED] * 4
    yield made
    made.close()


def hash_of(seq: int) -> str:
    header = RECORDS[min(seq, len(RECORDS)) - 1].header
    assert header is not None
    return header.hash


def erased(*seqs: int) -> list[ErasedRecord]:
    return [ErasedRecord(LOG, seq, DAY, hash_of(seq)) for seq in seqs]


def there(actors: Actors) -> list[int]:
    statuses = {
        seq: actors.cluster.request("GET", f"/{actors.index}/_doc/{LOG}:{seq}")[0]
        for seq in (1, 2, 3, 4)
    }
    return [seq for seq, status in statuses.items() if status == 200]


def erasure(actors: Actors, user: str = "erasure") -> ElasticsearchErasure:
    return ElasticsearchErasure(actors.connection(user), actors.options.names)


def test_by_id(actors: Actors) -> None:
    """by_id: exactly the documents of these records are deleted"""
    assert erasure(actors).erase(erased(2, 4)) == []
    assert there(actors) == [1, 3]


def test_ours(actors: Actors) -> None:
    """ours: a record of the same id and another hash stays, and is told"""
    (problem,) = erasure(actors).erase([*erased(1, 3), erased(2)[0]._replace(hash="f" * 64)])
    assert "another record under this id" in problem
    assert there(actors) == [2, 4]


def test_reported(actors: Actors) -> None:
    """reported: a document that cannot be deleted is a problem; one that is not there is none"""
    assert (
        erasure(actors).erase([*erased(99), ErasedRecord(LOG, 1, "2020-01-01", hash_of(1))]) == []
    )
    (refused,) = erasure(actors, "shipper").erase(erased(1, 2))
    assert "auditlog_erasure" in refused
    assert "2 records" in refused
    blocks = {"index": {"blocks": {"write": True}}}
    assert actors.cluster.request("PUT", f"/{actors.index}/_settings", blocks)[0] == 200
    (blocked,) = erasure(actors).erase(erased(1))
    assert "blocked for writing" in blocked
    assert there(actors) == [1, 2, 3, 4]
