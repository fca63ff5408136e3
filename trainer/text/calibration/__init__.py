"""How well confidence tells right answers from wrong ones: reading it, writing it, and measuring
it.
"""
