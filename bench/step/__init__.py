"""Whole distillation steps, ours beside TRL's: each contender is a fresh process that carries out
the same job.
"""
