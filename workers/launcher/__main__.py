"""`python -m workers.launcher` (what `make run` does once everything is installed)."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from webapp.base.environment import ConfigurationError
from workers.launcher.launch import PARTS, Launcher
from workers.launcher.refusal import Refusal, of_os_error

CLONE = Path(__file__).resolve().parents[2]


def arguments() -> argparse.ArgumentParser:
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
    return parser


def say(sentence: str) -> None:
    with suppress(OSError):  # the terminal may be gone; stopping in order matters more
        print(sentence, flush=True)


def main() -> int:
    parser = arguments()
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}"
        )
    try:
        Launcher(CLONE, chosen.parts or PARTS, say).run()
    except (Refusal, ConfigurationError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except OSError as error:
        print(of_os_error(error, "starting Stillroom"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
