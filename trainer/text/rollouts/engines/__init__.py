"""Engines that sample answers.

The batched in-process sampler, transformers' `generate` for networks that it does not support, and
a vLLM server.
"""
