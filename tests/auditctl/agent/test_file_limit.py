from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.unmeasured import unmeasured

CODE = """
import resource, sys
from auditctl.agent.file_limit import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
raise_file_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "then"), [(200, 700, "700 700"), (300, 300, "300 300"), (64, 900, "900 900")]
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(
    soft: int, hard: int, then: str
) -> None:
    command = [sys.executable, "-c", CODE, str(soft), str(hard)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=unmeasured())
    assert run.stdout.strip() == then
