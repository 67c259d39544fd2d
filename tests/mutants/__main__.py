"""Mutation testing of the pure modules: change one operator or constant, and a test has to fail.

    python -m tests.mutants                               every module that says "Pure."
    python -m tests.mutants auditlog/format/record.py     this module alone

Survivors are printed, and docs/mutation-testing.md gets a new line for each module tried.

A mutant is tried with the tests that execute the changed line: those of the module's own test file,
of a test_corpus.py beside it, and of the files that its header names for its invariants.  It is
killed when one of them fails or computes far too long.  equivalent.toml names the mutants that no
test can kill because they behave like the original, each with a reason.

A change inside a function is made in a process forked when the tests are collected, by giving the
function its other code: that costs no import.  A change of what runs at import, and a mutant that
survived so, is tried in a process that imports the changed module in place of the real one.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import datetime as dt
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import tomllib
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import _hypothesis_pytestplugin  # noqa: F401  (before charmap is called)
import coverage
import hypothesis
import pytest
from hypothesis.internal.charmap import charmap

from tests.mutants.operators import Mutant, mutants

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("auditlog", "shippers", "retention", "auditctl")
REPORT: Final = ROOT / "docs/mutation-testing.md"
EQUIVALENT: Final = Path(__file__).with_name("equivalent.toml")
ENOUGH: Final = 0.95
PATIENCE_SECONDS: Final = 120.0
"""How long a mutant may take, beside ten times the computing time of the unchanged module."""
EXAMPLES: Final = 25
"""Examples of a property that does not set their number: a quarter of the default."""
MOST_MEMORY_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class Result:
    """Results of the mutants of one module."""

    module: str
    tried: int
    survivors: list[Mutant]
    equivalent: list[Mutant]

    @property
    def killed(self) -> int:
        return self.tried - len(self.survivors) - len(self.equivalent)

    @property
    def score(self) -> float:
        """The share killed of those that can be killed."""
        could = self.tried - len(self.equivalent)
        return self.killed / could if could else 1.0

    @property
    def row(self) -> str:
        return (
            f"| `{self.module}` | {self.tried} | {self.killed} | {len(self.equivalent)} "
            f"| {len(self.survivors)} | {int(100 * self.score)} % | {_today()} |"
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """The tests on the unchanged module.

    ``tests`` maps a line (as text) to the tests that execute it and ``imported`` are the lines that
    importing the tests executes; ``ordered`` is every test, the quickest first, and ``seconds``
    what all of them compute.
    """

    tests: dict[str, list[str]]
    imported: list[int]
    ordered: list[str]
    seconds: float

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that execute what the mutant changes, the quickest first."""
        found = {name for line in mutant.lines for name in self.tests.get(str(line), ())}
        return [name for name in self.ordered if name in found]

    def at_import(self, mutant: Mutant) -> bool:
        return any(line in self.imported for line in mutant.lines)


class Quick:
    """A pytest plugin for one mutant: the chosen tests alone, one failure ends it, no shrinking."""

    def __init__(self, chosen: Sequence[str] | None = None) -> None:
        self.chosen = chosen

    def pytest_sessionstart(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        parent = hypothesis.settings.get_profile("auditlog")
        profile = hypothesis.settings(
            parent, phases=phases, database=None, derandomize=True, max_examples=EXAMPLES
        )
        hypothesis.settings.register_profile("mutants", profile)
        hypothesis.settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.chosen is not None:
            items[:] = _in_order(items, self.chosen)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)


class Loop(Quick):
    """A pytest plugin: collects the tests once and tries every mutant in a fork of that process."""

    def __init__(self, module: str, found: Sequence[Mutant], jobs: int, output: str) -> None:
        super().__init__()
        self.module, self.found, self.jobs, self.output = module, found, jobs, output
        self.measuring = coverage.Coverage(
            data_file=None, include=[str(ROOT / module)], config_file=False
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and os.getpid() != self.server:
            os._exit(1)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.server = os.getpid()
        first = self.measured(session)
        self.measuring.stop()
        path = ROOT / self.module
        originals = _codes(compile(path.read_text("utf-8"), str(path), "exec", dont_inherit=True))
        functions = [
            each
            for each in gc.get_objects()
            if isinstance(each, FunctionType) and each.__code__.co_filename == str(path)
        ]
        gc.freeze()  # a process that is forked need not look at what is there, nor copy it
        work: dict[int, Callable[[], int]] = {}
        again, survived = [], []
        for number, mutant in enumerate(self.found):
            codes = _codes(compiled(mutant, path))
            pairs = list(zip(originals, codes, strict=False))
            in_functions = all(
                old.co_flags & inspect.CO_OPTIMIZED for old, new in pairs if _differ(old, new)
            )
            # With every function around the change, since a function holds the code within it.
            changed = [(old, new) for old, new in pairs if old != new]
            tests = first.tests_of(mutant)
            # Two functions of one code, such as two equal comprehensions, are one to the compiler.
            if not in_functions or len(codes) != len(originals):
                again.append(number)
            elif tests:
                work[number] = partial(_with_other_code, session, functions, changed, tests)
            elif first.at_import(mutant):
                again.append(number)
            else:
                survived.append(number)
        for number in survivors(work, self.jobs, first.seconds):
            (again if first.at_import(self.found[number]) else survived).append(number)
        answer = {"again": again, "survived": survived, **dataclasses.asdict(first)}
        Path(self.output).write_text(json.dumps(answer))
        return True

    def measured(self, session: pytest.Session) -> Baseline:
        """Run the tests on the unchanged module.  Raises SystemExit when they fail."""
        path = str(ROOT / self.module)

        def work() -> int:
            seconds = {}
            for item in session.items:
                self.measuring.switch_context(item.nodeid)
                began = time.process_time()
                _run(item)
                seconds[item.nodeid] = time.process_time() - began
            self.measuring.stop()
            ordered = sorted(seconds, key=lambda name: seconds[name])
            found = self.measuring.get_data().contexts_by_lineno(path)
            tests = {str(n): [name for name in ordered if name in by] for n, by in found.items()}
            imported = [line for line, by in found.items() if "" in by]
            first = Baseline(tests, imported, ordered, sum(seconds.values()))
            Path(self.output).write_text(json.dumps(dataclasses.asdict(first)))
            return 0

        _, status = os.waitpid(forked(work, 3600), 0)
        if status:
            raise SystemExit(f"mutants: the tests of {self.module} fail without any change")
        return Baseline(**json.loads(Path(self.output).read_text()))


def _in_order(items: Sequence[pytest.Item], names: Sequence[str]) -> list[pytest.Item]:
    by_name = {item.nodeid: item for item in items}
    return [by_name[name] for name in names]


def _run(item: pytest.Item) -> None:
    item.ihook.pytest_runtest_protocol(item=item, nextitem=None)


def _with_other_code(
    session: pytest.Session,
    functions: Sequence[FunctionType],
    changed: Sequence[tuple[CodeType, CodeType]],
    tests: Sequence[str],
) -> int:
    for function in functions:
        for old, new in changed:
            if function.__code__ == old:
                function.__code__ = new
                break
    for item in _in_order(session.items, tests):
        _run(item)
    return 0


def compiled(mutant: Mutant, path: Path) -> CodeType:
    tree = ast.fix_missing_locations(mutant.tree)
    return compile(tree, str(path), "exec", dont_inherit=True)


def _codes(code: CodeType) -> list[CodeType]:
    """The code and all code within it, in a fixed order."""
    within = [found for found in code.co_consts if isinstance(found, CodeType)]
    return [code, *(found for each in within for found in _codes(each))]


def _differ(old: CodeType, new: CodeType) -> bool:
    """Whether the code itself differs, not only that of a function within it."""
    plain = [tuple(c for c in code.co_consts if not isinstance(c, CodeType)) for code in (old, new)]
    return old.co_code != new.co_code or repr(plain[0]) != repr(plain[1])


class Changed(importlib.machinery.SourceFileLoader):
    """Loads a module from a mutant instead of its file."""

    def __init__(self, name: str, path: Path, mutant: Mutant) -> None:
        super().__init__(name, str(path))
        self.mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compiled(self.mutant, Path(self.get_filename(fullname)))


class Finder(importlib.abc.MetaPathFinder):
    """Has the import system find the changed module before the real one."""

    def __init__(self, module: str, mutant: Mutant) -> None:
        self.name, self.path = module.removesuffix(".py").replace("/", "."), ROOT / module
        self.mutant = mutant

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        del path, target
        if name != self.name:
            return None
        loader = Changed(name, self.path, self.mutant)
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


def with_other_module(
    module: str, files: Sequence[str], mutant: Mutant, tests: Sequence[str]
) -> int:
    sys.meta_path.insert(0, Finder(module, mutant))
    return run_pytest(files, Quick(tests))


def run_pytest(files: Sequence[str], plugin: Quick) -> int:
    options = ["-x", "-q", "-n0", "--assert=plain", "--timeout=0", "-p", "no:cacheprovider"]
    return int(pytest.main([*options, *files], plugins=[plugin]))


def forked(work: Callable[[], int], cpu_seconds: float, says: str = os.devnull) -> int:
    """Start the work in a process of its own, with a limit of what it may compute; its id."""
    pid = os.fork()
    if pid == 0:
        os.setsid()  # what it starts in turn can be killed with it
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds) + 1,) * 2)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES,) * 2)
        output = os.open(says, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(output, fd)
        status = 99
        try:
            status = work()
        except BaseException:  # noqa: BLE001  (reported through the output and the status)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def survivors(work: Mapping[int, Callable[[], int]], jobs: int, seconds: float) -> list[int]:
    """Do the work in processes, ``jobs`` at a time; which of it ended well."""
    waiting, ended_well = list(reversed(work.items())), []
    running: dict[int, tuple[int, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number, each = waiting.pop()
            pid = forked(each, 2 + 10 * seconds)
            running[pid] = number, time.monotonic() + PATIENCE_SECONDS + 20 * seconds
        for pid, (number, deadline) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() < deadline:
                continue
            if not ended:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            elif status == 0:
                ended_well.append(number)
            del running[pid]
        time.sleep(0.002)
    return ended_well


def tests_of(module: str) -> list[str]:
    """The module's own test file, a corpus beside it, and those that its header names."""
    path = Path(module)
    header = ast.get_docstring(ast.parse((ROOT / module).read_text("utf-8"))) or ""
    named = re.findall(r"\(tests of the same name in\s+([\w/]+\.py)\)", header)
    folder = f"tests/{path.parent}"
    files = dict.fromkeys([f"{folder}/test_{path.name}", f"{folder}/test_corpus.py", *named])
    there = [name for name in files if (ROOT / name).exists()]
    if not there:
        raise SystemExit(f"mutants: {module} has no test file of its own")
    return there


def result_of(module: str, jobs: int) -> Result:
    found = list(mutants((ROOT / module).read_text("utf-8")))
    if not found:
        return Result(module, 0, [], [])
    files = tests_of(module)
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as says:

        def work() -> int:
            loop = Loop(module, found, jobs, output.name)
            loop.measuring.start()
            return run_pytest(files, loop)

        _, status = os.waitpid(forked(work, 36_000, says.name), 0)
        if status:
            said = Path(says.name).read_text()
            raise SystemExit(f"mutants: {module} could not be tried; do its tests pass?\n{said}")
        answer = json.loads(Path(output.name).read_text())
    again, numbers = answer.pop("again"), answer.pop("survived")
    first = Baseline(**answer)
    with_module = {
        number: partial(
            with_other_module,
            module,
            files,
            found[number],
            # Code that runs at import may fail any test.
            first.ordered if first.at_import(found[number]) else first.tests_of(found[number]),
        )
        for number in again
    }
    numbers += survivors(with_module, jobs, first.seconds + 2)
    survived = [found[number] for number in sorted(numbers)]
    entries = tomllib.loads(EQUIVALENT.read_text("utf-8")).get(module, [])
    named = {(entry["function"], entry["before"], entry["after"]) for entry in entries}
    known = [m for m in survived if (m.function, m.before, m.after) in named]
    return Result(module, len(found), [m for m in survived if m not in known], known)


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


def pure_modules() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            source = path.read_text("utf-8")
            if re.search(r"\bPure[.:]", ast.get_docstring(ast.parse(source)) or ""):
                yield path.relative_to(ROOT).as_posix()


def write_report(results: Sequence[Result]) -> None:
    """Replace the lines of these modules, and drop those of modules that are no longer there."""
    modules = set(pure_modules())
    kept, rows = [], {}
    for line in REPORT.read_text("utf-8").splitlines():
        if match := re.match(r"\| `(\S+\.py)` \|", line):
            rows[match[1]] = line
        else:
            kept.append(line)
    rows |= {result.module: result.row for result in results}
    place = max(n for n, line in enumerate(kept) if line.startswith("|---")) + 1  # the last table
    kept[place:place] = [rows[module] for module in sorted(modules & rows.keys())]
    REPORT.write_text("\n".join(kept) + "\n", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("modules", nargs="*", help="paths of modules; without any, all pure ones")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    os.chdir(ROOT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may be early for that, but no plugin is loading
        charmap()  # takes a second, which no process after this one needs again
    failed = False
    for module in options.modules or pure_modules():
        try:
            result = result_of(module, options.jobs)
        except SystemExit as error:
            print(error, flush=True)
            failed = True
            continue
        failed = failed or result.score < ENOUGH
        print(
            f"{module}: {result.killed} of {result.tried} killed, "
            f"{len(result.equivalent)} equivalent: {result.score:.0%}",
            flush=True,
        )
        for mutant in result.survivors:
            print(
                f"  {mutant.line} {mutant.function}: {mutant.before}  ->  {mutant.after}",
                flush=True,
            )
        write_report([result])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
