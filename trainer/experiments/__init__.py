"""Arms × seeds over a common run definition, and what they show."""
