"""How far each model's predictions are from the largest one's, by noise level."""
