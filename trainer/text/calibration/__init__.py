"""Confidence of answers: reading it, writing it, and measuring how well it predicts correctness."""
