"""`python -m workers.launcher`: what `make run` does once everything is installed."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from webapp.base.environment import ConfigurationError
from workers.launcher.errors import LauncherError, from_os_error
from workers.launcher.launch import PARTS, Launcher

CLONE = Path(__file__).resolve().parents[2]


def say(sentence: str) -> None:
    # The terminal may be closed; an orderly stop matters more.
    with suppress(OSError):
        print(sentence, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m workers.launcher",
        description="Start Stillroom and keep it running until Ctrl-C.",
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"what runs here: {' or '.join(PARTS)}; both if none is named",
    )
    options = parser.parse_args()
    # Data, logs and sign-in links of everything that is started here are for its owner alone.
    os.umask(0o077)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}"
        )
    try:
        Launcher(CLONE, options.parts or PARTS, say).run()
    except (LauncherError, ConfigurationError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(from_os_error(error, "starting Stillroom"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
