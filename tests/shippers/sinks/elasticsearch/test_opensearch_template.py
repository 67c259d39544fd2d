from __future__ import annotations

import copy

from shippers.sinks.elasticsearch.document_template import document_template
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.opensearch_template import for_opensearch


def test_flattened_fields_become_flat_objects_at_any_depth_and_nothing_else_changes() -> None:
    ours = index_template()
    assert "flattened" in str(ours)
    given = copy.deepcopy(ours)
    made = for_opensearch(ours)
    assert ours == given
    assert "flattened" not in str(made)
    back = str(made).replace("'flat_object'", "'flattened'")
    ours["template"]["mappings"] = _plain(ours["template"]["mappings"])
    assert back == str(ours)


def _plain(mapping: object) -> object:
    """The mapping with the type alone of what is flattened."""
    if not isinstance(mapping, dict):
        return mapping
    if mapping.get("type") == "flattened":
        return {"type": "flattened"}
    return {name: _plain(inner) for name, inner in mapping.items()}


def test_documents_of_other_programs_index_our_fields_alone() -> None:
    theirs = document_template("p", "app")
    made = for_opensearch(theirs)["template"]
    mappings = made["mappings"]
    assert mappings["dynamic"] is False
    assert not {"subobjects", "dynamic_templates", "date_detection"} & mappings.keys()
    assert mappings["properties"].keys() == {
        *theirs["template"]["mappings"]["properties"],
        "message",
    }
    assert mappings["properties"]["message"] == {"type": "text", "norms": False}
    assert made["settings"]["index"]["mapping"] == {"ignore_malformed": True}
    assert theirs["template"]["settings"]["index"]["mapping"].keys() > {"ignore_malformed"}
