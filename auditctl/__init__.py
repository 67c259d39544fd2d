"""Provide the command line, the configuration and the agent."""

from importlib.util import find_spec

for _name in ("retention", "shippers"):
    _spec = find_spec(_name)
    if _spec is not None and _spec.submodule_search_locations is None:
        from pathlib import Path  # here alone: it would cost --help a twentieth of its time

        raise ImportError(
            f"{_spec.origin} hides the package {_name} of llama-orch-auditlog, which lies beside"
            f" {Path(__file__).parent}. Rename that file, or start the program from another"
            " directory."
        )
