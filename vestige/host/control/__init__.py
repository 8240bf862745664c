"""A run's control socket: what others ask of a guest that runs. See docs/control.md."""
