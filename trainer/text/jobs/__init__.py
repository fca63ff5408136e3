"""Jobs: one model over a whole data set, in parts that any machines carry out; what they found adds
up (`tallies`).
"""
