"""`python -m workers.launcher` (what `make run` does once everything is installed)."""

from __future__ import annotations

import sys
from pathlib import Path

from webapp.environment import ConfigurationError
from workers.launcher.launch import Launcher
from workers.launcher.refusal import Refusal, of_os_error


def main() -> int:
    try:
        Launcher(Path(__file__).resolve().parents[2], lambda sentence: print(sentence, flush=True)).run()
    except (Refusal, ConfigurationError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except OSError as error:
        print(of_os_error(error, "starting Stillroom"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
