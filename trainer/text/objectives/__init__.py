"""Losses: divergences of student and teacher, losses of sampled tokens, and their reductions."""
