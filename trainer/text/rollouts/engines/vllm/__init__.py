"""Answers sampled by a vLLM server that the run owns: it starts, updates, checks and stops it.

Randomness: *statistical*. Every answer has its own seed, made from (seed, round, problem, rollout)
as in the trainer, but vLLM's kernels and batching round differently from run to run, so a repeated
or resumed run gets different answers of the same distribution.
"""
