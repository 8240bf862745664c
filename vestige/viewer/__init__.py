"""What the viewer's process does: pictures of a screen for those who look on, and their keys."""
