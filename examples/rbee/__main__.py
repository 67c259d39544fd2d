"""``python -m rbee queen`` or ``python -m rbee hive``; see rbee.settings for what they are told."""

from __future__ import annotations

import logging
import sys

from rbee.hive import hive
from rbee.queen import queen
from rbee.service import serve
from rbee.settings import BadSetting, Settings

_SERVICES = {"queen": (queen, 8080), "hive": (hive, 8081)}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in _SERVICES:
        print("usage: python -m rbee queen|hive", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    make, port = _SERVICES[arguments[0]]
    try:
        settings = Settings.from_environment()
        application, trail = make(settings)
    except (BadSetting, OSError) as error:
        print(f"rbee: {error}", file=sys.stderr)
        return 65
    return serve(application, trail, settings, port)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
