"""Comparison of two pictures on their pixels: alignment, agreement, and the relation that follows."""
