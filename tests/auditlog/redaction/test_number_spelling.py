from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.redaction.number_spelling import with_numbers_of
from auditlog.redaction.redactor import KEYLESS

_NUMBERS = [
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    "3.14159265358979323846264338327950288",
    "1.50",
    "1E5",
    "-0",
    "2e-7",
]


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize(
    "text",
    [
        '{"password":"hunter33y","n":%s}',
        '{"a":[1,{"b":[[%s],%s]}],"password":"hunter33y"}',
        '["x",{"password":"hunter33y"},%s]',
        '{"n":%s,"password":{"old":"hunter33y","length":%s}}',
        '{"x://bob:hunter33y@a":%s,"x://bob:hunter33y@b":%s}',
        '{"n":%s,"name":"password","value":"hunter33y","again":%s}',
        '{"a":%s,"true":true,"null":null,"text":"password=hunter33y %s"}',
    ],
)
def test_spelled(text: str, number: str) -> None:
    original = text.replace("%s", number)
    redacted = KEYLESS.clean(orjson.loads(original), "d")
    written = with_numbers_of(original, redacted).decode()
    assert "hunter33y" not in written
    assert written.count(number) == text.count("%s")
    assert orjson.loads(written) == redacted


@pytest.mark.parametrize("number", _NUMBERS[:3])
def test_spelled_unless_the_number_is_the_secret(number: str) -> None:
    original = f'{{"password":{number},"pin":[{number}],"n":{number}}}'
    redacted = KEYLESS.clean(orjson.loads(original), "d")
    assert with_numbers_of(original, redacted).decode() == (
        f'{{"password":"[redacted:password]","pin":["[redacted:pin]"],"n":{number}}}'
    )


def test_spelled_where_a_name_stands_twice() -> None:
    original = '{"n":1.50,"password":"hunter33y","n":2.50}'
    redacted = KEYLESS.clean(orjson.loads(original), "d")
    assert with_numbers_of(original, redacted) == b'{"n":2.50,"password":"[redacted:password]"}'


@pytest.mark.parametrize(("original", "other"), [("[1]", [1, 2]), ('{"a":1}', {})])
def test_a_value_of_another_shape_is_refused(original: str, other: Any) -> None:
    with pytest.raises(ValueError, match="argument 2"):
        with_numbers_of(original, other)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(st.dictionaries(st.text(), _JSON))
def test_spelled_alike_where_a_parser_loses_nothing(value: dict[str, Any]) -> None:
    assert with_numbers_of(orjson.dumps(value).decode(), value) == orjson.dumps(value)
