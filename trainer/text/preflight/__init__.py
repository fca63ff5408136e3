"""Checks of a run before it is launched: tokenizers, data and verifier, in seconds, without torch.

`supervision` starts them in a process of their own that can be killed; `findings` is what they
answer. Both import neither torch nor transformers.
"""
