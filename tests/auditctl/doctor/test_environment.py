from __future__ import annotations

from auditctl.doctor.environment import check_environment


def test_an_environment_of_our_own() -> None:
    (found,) = check_environment()
    assert found.state == "ok"


def test_a_distribution_with_a_package_of_the_same_name_fails() -> None:
    owners = {"auditlog": ["llama-orch-auditlog", "django-auditlog"], "shippers": ["shippers"]}
    auditlog, shippers = check_environment(owners)
    assert (auditlog.state, shippers.state) == ("fail", "fail")
    assert auditlog.detail == "the package auditlog also belongs to django-auditlog"
    assert "docs/beside-django-auditlog.md" in auditlog.mend
