"""Who writes the answers: the batched in-process sampler, or transformers' generate where it does
not know the network.
"""
