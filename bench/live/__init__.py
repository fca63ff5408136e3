"""The delay from a trainer's emit to two hundred open pages, through all processes in between."""
