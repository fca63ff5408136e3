"""Pairs written after the fixes of the second round and judged before anything was fixed on them.

`docs/verifiers.md` has those rates.
"""
