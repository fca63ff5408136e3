"""Sampled answers of a model to problems: requests, engines, filters and records."""
