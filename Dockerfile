# One image for the web and the worker. A CPU build of torch: pass PyTorch's CPU index as PIP_EXTRA_INDEX_URL when building.
FROM python:3.11-slim-bookworm

RUN useradd --create-home --uid 1000 stillroom && mkdir -p /srv/stillroom /state /artifacts && chown stillroom /srv/stillroom /state /artifacts
USER stillroom
WORKDIR /srv/stillroom

ARG PIP_EXTRA_INDEX_URL=""
COPY --chown=stillroom requirements.lock requirements-dev.lock package.json package-lock.json .npmrc ./
COPY --chown=stillroom workers/__init__.py workers/
COPY --chown=stillroom workers/launcher/ workers/launcher/
RUN python -m workers.launcher.install run && rm -rf ~/.cache ~/.npm

COPY --chown=stillroom . .

# What is given as command ("web", "worker") chooses the part; the launcher takes the stop signal and checkpoints first.
ENTRYPOINT [".venv/bin/python", "-m", "workers.launcher"]
