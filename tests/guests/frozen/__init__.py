"""Real guests, frozen in the middle of work, and thawed where they were or elsewhere."""
