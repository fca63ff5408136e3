"""What is minimised: divergences between teacher and student, per token, and how tokens add up to a loss."""
