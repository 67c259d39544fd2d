"""Run auditctl with ``python -m auditctl``."""

import sys

from auditctl.main import main

if __name__ == "__main__":
    sys.exit(main())
