"""Check the result of `make sbom`: every requirement of an installation, each with its version,
and nothing that only development needs.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=\[; ]", name)[0]).lower()


def check(path: Path) -> None:
    bill = json.loads(path.read_text("utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "llama-orch-auditlog"
    held = {normal(component["name"]): component for component in bill["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = {normal(name) for name in (*project["dependencies"], *extras["agent"])}
    missing = needed - held.keys()
    assert not missing, f"{path} lacks {missing}"
    stray = {normal(name) for name in extras["dev"]} - needed & held.keys()
    assert not stray & {"pytest", "ruff", "mypy", "sphinx"}, f"{path} has {stray}"
    unversioned = [name for name, component in held.items() if not component.get("version")]
    assert not unversioned, f"{path} has no version for {unversioned}"
    print(f"sbom: {path} names {len(held)} packages")


if __name__ == "__main__":
    check(Path(sys.argv[1]))
