"""What is minimised: divergences of student and teacher, losses of sampled tokens, and how tokens
add up to one loss.
"""
