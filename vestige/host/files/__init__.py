"""The files that a run's user names: how they are opened, limited, and told of."""
