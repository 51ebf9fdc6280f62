"""What the families have in common."""
