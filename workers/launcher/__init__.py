"""The launcher behind `make run`: starts Postgres, Redis, web and worker, and keeps them running.

Postgres and Redis are started only where no address is given. Plain Python: everything that needs
Django or torch runs in a child process.
"""
