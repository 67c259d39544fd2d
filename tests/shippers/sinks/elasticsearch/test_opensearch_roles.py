from __future__ import annotations

from shippers.sinks.elasticsearch.opensearch_roles import OPENSEARCH_ROLES, opensearch_roles_yml


def test_who_ships_and_who_searches_may_not_delete() -> None:
    for name in ("auditlog_shipper", "auditlog_auditor", "auditlog_setup"):
        (of_indices,) = OPENSEARCH_ROLES[name]["index_permissions"]
        allowed = [*OPENSEARCH_ROLES[name]["cluster_permissions"], *of_indices["allowed_actions"]]
        assert allowed
        assert not [action for action in allowed if "delete" in action or action == "*"]


def test_no_role_reaches_beyond_our_indices() -> None:
    for role in OPENSEARCH_ROLES.values():
        for entry in role["index_permissions"]:
            assert all(pattern.startswith("llama-orch-") for pattern in entry["index_patterns"])


def test_the_file_has_every_action_of_every_role() -> None:
    lines = opensearch_roles_yml().splitlines()
    for name, role in OPENSEARCH_ROLES.items():
        place = lines.index(f"{name}:")
        cluster, heading, patterns, actions = lines[place + 1 : place + 5]
        assert heading == "  index_permissions:"
        assert _listed(cluster) == role["cluster_permissions"]
        (of_indices,) = role["index_permissions"]
        assert _listed(patterns) == of_indices["index_patterns"]
        assert _listed(actions) == of_indices["allowed_actions"]


def _listed(line: str) -> list[str]:
    inside = line.partition("[")[2].removesuffix("]")
    return [text.strip('"') for text in inside.split(", ")]
