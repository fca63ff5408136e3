"""The process that renders chat templates: a template is a program of its author.

    python -m trainer.text.language.template_process CPU_SECONDS

It writes a line "ready" when it is. A request is one JSON line {"template", "messages", "options"};
the answer is one JSON line {"text"} or {"error"}. Nothing of the template can harm the trainer: it
runs in Jinja's sandbox, as transformers sets that up, in a process with limits of its own. A
rendering that uses up its processor time ends the process, even inside a long call into C.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

# Bytes of address space; the process itself needs about 0.3 GiB.
MEMORY = 2 * 2**30
# The longest prompts of today's models have about a million tokens.
MOST_CHARACTERS = 16 * 2**20


def main() -> None:
    cpu_seconds = float(sys.argv[1])
    _prepare()
    _write("ready")
    for line in sys.stdin.buffer:
        # Nothing handles SIGPROF, so it ends the process.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        answer = _render(**json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answer)


def _prepare() -> None:
    """Ignore signals to the process group, because the parent decides when this process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    # The limit may be lowered only.
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _render(
    template: str, messages: list[dict[str, str]], options: dict[str, Any]
) -> dict[str, str]:
    try:
        rendered: Any = render_jinja_template([messages], chat_template=template, **options)
    except MemoryError:
        return {"error": f"it needs more than {MEMORY / 2**30:.0f} GiB of memory"}
    # A template may fail in any way.
    except Exception as error:
        return {"error": str(error).strip().partition("\n")[0][:1000]}
    # The texts of all conversations, and the positions of what an assistant says.
    (text,), _ = rendered
    if len(text) > MOST_CHARACTERS:
        return {"error": f"it writes more than {MOST_CHARACTERS:,} characters"}
    return {"text": text}


def _write(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
