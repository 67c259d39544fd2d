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

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from auditctl.exit_codes import ExitCode
from auditctl.output.messages import write_message

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``auditctl`` with the arguments (default: the process's own); returns the exit code."""
    _replace_closed_streams()
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt_once)  # the process is ours
    try:
        return _run_explained(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:  # also while an error is explained
        return _interrupted()
    except BrokenPipeError:
        return _pipe_closed()


def _run_explained(arguments: list[str]) -> int:
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except ImportError as error:
        write_message(
            f"auditctl: {error.name}: this Python package is missing or incomplete. "
            "Run: pip install 'llama-orch-auditlog[agent]'"
        )
        return ExitCode.FAILED
    except Exception as error:
        # The only place that catches every exception and turns it into a message.
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None  # Python 3.11 wraps it while a class is made
        if os.environ.get("AUDITLOG_DEBUG") == "1":
            raise
        if isinstance(error, OSError) and _is_of_output(error):
            _stop_printing()
            write_message(
                f"auditctl: standard output: {error.strerror}. What was printed is incomplete; "
                "what the command has done besides stays done."
            )
            return ExitCode.FAILED
        return _explain(error)
    return code


def _replace_closed_streams() -> None:
    """Replace closed streams, since open(2) would give their numbers to the next files."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(null, True)  # otherwise child processes would inherit it closed
            setattr(sys, name, os.fdopen(null, "w" if number else "r"))


def _interrupt_once(_number: int, _frame: object) -> None:
    """Raise KeyboardInterrupt; a second Ctrl-C ends the process at once and without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> int:
    from auditctl.cli import cli  # noqa: PLC0415  (see the module header: imported late)

    return cli(arguments)


def _explain(error: Exception) -> int:
    try:
        from auditctl.failures import explain  # noqa: PLC0415  (only a failing command needs it)
    except OverflowError:  # logging reads the clock when it is imported
        write_message(
            "auditctl: the clock shows a year after 2262, which Python cannot read. Set the clock."
        )
        return ExitCode.FAILED
    failure = explain(error)
    write_message(f"auditctl: {failure.text}")
    return failure.code


def _interrupted() -> int:
    # A terminal shows ^C without a line break.
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return ExitCode.INTERRUPTED


def _is_of_output(error: OSError) -> bool:
    """Whether stdout takes no more: files are written by other packages, or named in the error."""
    if error.filename is not None or error.errno not in _NO_ROOM:
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else trace.tb_frame.f_globals["__name__"]
    return module.startswith(("auditctl.", "click."))


def _pipe_closed() -> int:
    """Stop printing, since the reader has closed our output (SIGPIPE)."""
    _stop_printing()
    return ExitCode.PIPE_CLOSED


def _stop_printing() -> None:
    """Print nothing any more, also at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
