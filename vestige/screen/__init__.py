"""A guest's text screen, as text and as a picture, from what its run tells of it."""
