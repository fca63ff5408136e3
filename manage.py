"""The command line of the web application: `python manage.py help` lists what it can do."""

from __future__ import annotations

import os
import sys


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    from django.core.management import execute_from_command_line

    from webapp.base import environment

    # Checked before Django starts, so that a missing variable gives a sentence, not a traceback.
    try:
        environment.refuse_unsafe(environment.require(environment.read()))
    except environment.ConfigurationError as problem:
        print(problem, file=sys.stderr)
        return 1
    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
