"""Answers of a model to problems: how they are asked for, drawn and recorded."""
