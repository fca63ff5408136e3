"""Jobs: one model over a whole data set, in parts that any machine executes.

Their results add up (`tallies`).
"""
