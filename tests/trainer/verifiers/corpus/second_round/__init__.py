"""Pairs written to attack the verifiers as they were after the first round of fixes.

They were judged once before anything was fixed on them; `docs/verifiers.md` has those rates.
"""
