"""The rules of the house that no linter knows: who may touch the disk, what is pure, what is light.

Every rule reads the source as it is, so that a new module is checked from its first day.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = ("auditlog", "shippers", "retention", "auditctl")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SOURCES = sorted([*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])

SAME_NAME = {
    "AuditMiddleware": "a middleware is imported from the bridge of its framework",
}
"""Class names that several modules of the product define, each with its reason."""

DURABLE_CALLS = {"fsync", "fdatasync", "rename", "replace", "link", "unlink", "remove", "flock"}
METHODS = {"rename", "unlink", "hardlink_to", "symlink_to", "rmdir"}

IMPURE_MODULES = {
    "asyncio",
    "fcntl",
    "http",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic"}
PURE = {  # what the design calls pure; any other module joins by saying "Pure" in its header
    "auditlog/verification/chain.py",
    "auditlog/writer/flush_policy.py",
    "auditlog/format/record.py",
    "auditlog/redaction/text_search.py",
    "auditlog/format/segment_names.py",
    "auditlog/writer/torn_tail.py",
    "retention/breaker.py",
    "retention/plan.py",
    "retention/policy.py",
    "retention/rules.py",
    "retention/subjects.py",
    "shippers/backoff.py",
    "shippers/batch.py",
    "shippers/outcome.py",
    "shippers/sinks/elasticsearch/bulk.py",
    "shippers/sinks/elasticsearch/index_template.py",
}
HEAVY = (
    "apscheduler",
    "click",
    "cryptography",
    "elasticsearch",
    "jinja2",
    "prometheus_client",
    "rich",
    "watchdog",
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), name_of(path))


def says_pure(path: Path) -> bool:
    return re.search(r"\bPure[.:]", ast.get_docstring(parsed(path)) or "") is not None


def without_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below ``if TYPE_CHECKING:``, which never run."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from without_type_checking(child)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_durable_fs_makes_things_durable(path: Path) -> None:
    if name_of(path) == "auditlog/durable_fs.py":
        return
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, called = ast.unparse(node.func.value), node.func.attr
            of_system = owner in ("os", "fcntl", "shutil") and called in DURABLE_CALLS
            of_path = owner != "durable_fs" and called in METHODS
            if of_system or of_path:
                found.append(f"line {node.lineno}: {owner}.{called}")
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "fcntl"):
            found += [alias.name for alias in node.names if alias.name in DURABLE_CALLS]
    assert not found, f"{name_of(path)} has to ask auditlog.durable_fs: {found}"


@pytest.mark.parametrize("path", [path for path in MODULES if says_pure(path)], ids=name_of)
def test_pure_modules_import_no_clock_disk_or_network(path: Path) -> None:
    found = []
    for node in without_type_checking(parsed(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            names += [
                f"durable_fs of {node.module}" for alias in node.names if alias.name == "durable_fs"
            ]
        else:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if node.func.attr in CLOCKS and owner in ("dt.datetime", "dt.date", "time"):
                    found.append(f"line {node.lineno}: {owner}.{node.func.attr}()")
            continue
        found += [
            name for name in names if name.split(".")[0] in IMPURE_MODULES or "durable_fs" in name
        ]
    assert not found, f"{name_of(path)} says that it is pure, and uses {found}"


def test_what_the_design_calls_pure_says_so() -> None:
    missing = {name for name in PURE if not (ROOT / name).exists() or not says_pure(ROOT / name)}
    assert not missing


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_invariant_in_a_header_has_a_test_of_its_name(path: Path) -> None:
    docstring = ast.get_docstring(parsed(path)) or ""
    for match in re.finditer(
        r"^Invariants \(tests of the same name in\s+(?P<file>[\w/.]+)\):\n(?P<names>(?:  .*\n?)+)",
        docstring,
        re.MULTILINE,
    ):
        tests = ROOT / match["file"]
        assert tests.exists(), f"{name_of(path)} promises {match['file']}"
        # A state machine is a test by assignment: test_prefix = WindowMachine.TestCase.
        pattern = r"^(?: *(?:async )?def )?(test_\w+)(?:\(| = \w+\.TestCase$)"
        defined = set(re.findall(pattern, tests.read_text("utf-8"), re.MULTILINE))
        promised = re.findall(r"^  (\w+) {1,}\S", match["names"], re.MULTILINE)
        assert promised, f"{name_of(path)}: no invariant could be read"
        missing = [
            name
            for name in promised
            if not any(
                test == f"test_{name}" or test.startswith(f"test_{name}_") for test in defined
            )
        ]
        assert not missing, f"{match['file']} has no test_{missing[0]}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_exception_to_a_check_has_its_reason(path: Path) -> None:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        comment = re.search(r"#\s*(noqa|type: ignore)(.*)", line)
        if comment is None or "re." in line:
            continue
        rest = re.sub(r"^(: ?[A-Z0-9, ]+|\[[a-z-, ]+\])", "", comment[2])
        assert len(rest.strip(" #()")) > 5, f"{name_of(path)}:{number} does not say why"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checking count: modules in a circle can only be understood together."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES}
    modules = {name.removesuffix(".__init__"): path for path, name in names.items()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        imported = graph.setdefault(name, set())
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                imported.update(each if each in modules else node.module for each in full)
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
        graph[name] = (imported & modules.keys()) - {name}
    while leaves := [name for name, imported in graph.items() if not imported]:
        for leaf in leaves:
            del graph[leaf]
        graph = {name: imported & graph.keys() for name, imported in graph.items()}
    # Whatever only imports a circle is no part of it.
    importers = {each for imported in graph.values() for each in imported}
    assert not graph.keys() & importers


def class_names(tree: ast.Module) -> Iterator[str]:
    """Every class, and every type alias that is named like one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and "TypeVar(" not in ast.unparse(node.value):
            yield from (ast.unparse(target) for target in node.targets)
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target)


def test_no_class_name_is_defined_twice() -> None:
    """One word per thing: a name in a message, a traceback or a search means one class."""
    defined: dict[str, list[str]] = {}
    for path in MODULES:
        for name in set(class_names(parsed(path))):
            if re.fullmatch(r"_?[A-Z]+[a-z]\w*", name):
                defined.setdefault(name, []).append(name_of(path))
    twice = {name: paths for name, paths in defined.items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in SAME_NAME} == {}
    assert twice.keys() == SAME_NAME.keys(), "take names out of SAME_NAME that are unique now"


def test_no_docstring_or_comment_begins_with_a_riddle() -> None:
    """A first sentence says what a thing does or is; a clause about "what" leaves that out."""
    begins = re.compile(
        r'("""|(?<!#)# )(What|Who|Whoever|Nobody|Nothing|So many|Of this|That which) '
    )
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if begins.search(line)
    ]
    assert not found, "begin these with a verb or a noun"


def test_importing_auditlog_stays_light() -> None:
    code = (
        "import sys; from auditlog import *; "
        f"print(*sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_every_dependency_is_pinned_and_no_index_is_named() -> None:
    pins = (ROOT / "requirements/dev.txt").read_text("utf-8").splitlines()
    pinned = {_normal(line.split("==")[0]) for line in pins if "==" in line}
    strange = [line for line in pins if not re.fullmatch(r"#.*|[\w.-]+==[\w.+-]+", line)]
    assert not strange
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = project["project"]["dependencies"] + [
        requirement
        for extra in project["project"]["optional-dependencies"].values()
        for requirement in extra
    ]
    needed += project["build-system"]["requires"]
    missing = {_normal(re.split(r"[<>=\[; ]", name)[0]) for name in needed} - pinned
    assert not missing, "run make pins"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
