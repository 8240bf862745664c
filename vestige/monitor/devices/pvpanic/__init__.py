"""A pvpanic device: where a guest's kernel says that it has panicked."""
