"""Rows of files in one format each: JSON Lines, JSON lists, CSV, Parquet and Arrow."""
