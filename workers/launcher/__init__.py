"""The launcher: `make run`. Starts Postgres and Redis where none are given, then the web and the
worker, and keeps them running.

Plain Python: everything that needs Django or torch runs in a child process.
"""
