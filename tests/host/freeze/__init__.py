"""Freezing machines into folders, and thawing them."""
