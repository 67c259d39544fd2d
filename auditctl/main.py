"""Run one command, and report any error with auditctl.failures.

Everything else is imported late: ``auditctl --help`` has to answer at once, and Ctrl-C has to end
a command cleanly even while it is still being loaded.

Invariants (tests of the same name in tests/auditctl/test_main.py):
  streams        standard input, output and error may be closed
  no_traceback   no error shows a traceback, unless AUDITLOG_DEBUG=1 asks for it
  lazy           --help and --version import no command and no heavy library
  one_paragraph  an error is one paragraph on stderr: where, what happened, what to do
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from auditctl.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``auditctl`` with the arguments (default: the process's own); returns the exit code."""
    _replace_closed_streams()
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _pipe_closed()
    except ImportError as error:
        print(
            f"auditctl: {error.name}: this Python package is missing or incomplete. "
            "Run: pip install 'llama-orch-auditlog[agent]'",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    except Exception as error:
        # The only place that catches every exception and turns it into a message.
        if os.environ.get("AUDITLOG_DEBUG") == "1":
            raise
        return _explain(error)
    return code


def _replace_closed_streams() -> None:
    """Replace closed streams, since open(2) would give their numbers to the next files."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(null, True)  # otherwise child processes would inherit it closed
            setattr(sys, name, os.fdopen(null, "w" if number else "r"))


def _run(arguments: list[str]) -> int:
    from auditctl.cli import cli  # noqa: PLC0415  (see the module header: imported late)

    return cli(arguments)


def _explain(error: Exception) -> int:
    try:
        from auditctl.failures import explain  # noqa: PLC0415  (only a failing command needs it)
    except OverflowError:  # logging reads the clock when it is imported
        print(
            "auditctl: the clock shows a year after 2262, which Python cannot read. Set the clock.",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    failure = explain(error)
    try:
        print(f"auditctl: {failure.text}", file=sys.stderr)
    except BrokenPipeError:
        return _pipe_closed()
    return failure.code


def _interrupted() -> int:
    # A terminal shows ^C without a line break.
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return ExitCode.INTERRUPTED


def _pipe_closed() -> int:
    """Stop printing, also at exit, since the reader has closed our output (SIGPIPE)."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return ExitCode.PIPE_CLOSED


if __name__ == "__main__":
    sys.exit(main())
