from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NewType, Optional

import pytest

from auditlog.events import field_kinds
from auditlog.events.annotations import REQUIRED, FieldSpec, read_fields
from auditlog.events.field_kinds import KINDS, Count, EcsName, Label

if TYPE_CHECKING:
    pass

LABEL = FieldSpec("x", KINDS["Label"])


def read(annotation: Any, **namespace: Any) -> FieldSpec:
    body = {"__module__": __name__, "__annotations__": {"x": annotation}, **namespace}
    return read_fields("Thing", body, ())["x"]


@pytest.mark.parametrize(
    "annotation",
    ["Label", "field_kinds.Label", Label, Annotated[Label, "anything"], "Annotated[Label, 'a']"],
    ids=str,
)
def test_spelling(annotation: Any) -> None:
    """spelling: a field is the same however its annotation is spelled"""
    assert read(annotation) == LABEL


@pytest.mark.parametrize(
    "annotation",
    ["Label | None", Label | None, Optional[Label], "Optional[Label]", "None | Label"],  # noqa: UP045  (spellings are the point)
    ids=str,
)
def test_spelling_of_what_may_be_left_out(annotation: Any) -> None:
    assert read(annotation, x=None) == LABEL._replace(nullable=True, default=None)


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[Label, EcsName("a.b")] | None,
        Annotated[Label | None, EcsName("a.b")],
        "Annotated[Label, EcsName('a.b')] | None",
    ],
    ids=str,
)
def test_a_name_of_ecs_may_stand_beside_the_kind(annotation: Any) -> None:
    assert read(annotation).ecs == "a.b"


def test_a_kind_that_is_imported_for_the_type_checker_only_is_known_by_its_name() -> None:
    assert read("Digest").kind is KINDS["Digest"]
    assert "Digest" not in globals()


@pytest.mark.parametrize("annotation", ["ClassVar[int]", ClassVar[int], "ClassVar", ClassVar])
def test_a_class_variable_is_not_a_field(annotation: Any) -> None:
    body = {"__module__": __name__, "__annotations__": {"x": annotation}}
    assert read_fields("Thing", body, ()) == {}


@pytest.mark.parametrize("annotation", ["Strange", "Label | Count", Label | Count, 7])
def test_an_annotation_that_is_not_a_kind_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"Thing\.x: .* is not one type; use a kind \(Id, Label"):
        read(annotation)


def test_a_subclass_may_give_a_field_another_default() -> None:
    assert read_fields("Thing", {"x": 3}, [LABEL]) == {"x": LABEL._replace(default=3)}
    assert LABEL.default is REQUIRED
    assert field_kinds.Label is Label


Own = NewType("Own", str)


class Thing:
    """A class of the program's own."""


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, "Text"),
        (int, "int"),
        (dict, "Changes"),
        (Mapping[str, int], "Changes"),
        (list[str], "Labels"),
        (tuple[str, ...], "Labels"),
        (list[int], "list"),
        (Any, "Any"),
        (object, "Any"),
        (Literal["a", "b"], "Literal"),
        (Own, "Text"),
        (Thing, "Thing"),
    ],
)
def test_a_plain_type_has_a_kind(annotation: Any, kind: str) -> None:
    field = read(annotation)
    assert (field.kind.name, field.nullable, field.required) == (kind, False, True)


def test_a_field_is_required_unless_it_has_a_default_and_may_be_none_if_that_is_its_default() -> (
    None
):
    assert read(Label).required
    assert not read(Label, x="a").required
    assert read(Label, x=None).nullable
    assert not read(Label, x="a").nullable
    assert read(Label | None).nullable


def test_fields_behind_a_class_variable_are_read() -> None:
    for variable in ("ClassVar[int]", ClassVar[int]):
        body = {"__module__": __name__, "__annotations__": {"a": variable, "x": Label}}
        assert read_fields("Thing", body, ()) == {"x": LABEL}


def test_a_class_without_annotations_has_no_fields() -> None:
    assert read_fields("Thing", {"__module__": __name__}, ()) == {}
