"""From a trainer's emit to the number on two hundred open pages, through everything that stands
between.
"""
