"""Whole distillation steps of Stillroom and of TRL, each in a fresh process on the same job."""
