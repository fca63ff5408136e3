# Everything a person types. The work itself is in workers/launcher/ and tests/.

# The locked packages are those of Python 3.11; a newer one works too.
PYTHON := $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: run test lint bench install clean python

run: python
	@$(PYTHON) -m workers.launcher.install run
	@exec .venv/bin/python -m workers.launcher

test: install
	@.venv/bin/python -m tests

lint: install
	@.venv/bin/python -m tests lint

bench: install
	@.venv/bin/python -m bench

install: python
	@$(PYTHON) -m workers.launcher.install test

# Removes what can be made again; runs, data and the database in var/ stay.
clean:
	@rm -rf .venv node_modules test-results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@test -n "$(PYTHON)" || { echo "Stillroom needs Python 3.11 or newer; none was found. Install it and start again."; exit 1; }
