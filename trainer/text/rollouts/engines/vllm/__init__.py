"""Answers sampled by a vLLM server that the run owns: started, given new weights, checked,
restarted and ended by it.

Randomness: *statistical*. Every answer has a seed of its own, made from (seed, round, problem,
rollout) as in the trainer, but vLLM's kernels and batching round differently from run to run, so a
repeated or resumed run gets other answers of the same law.
"""
