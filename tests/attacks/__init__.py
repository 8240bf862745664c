"""Attacks on the host: by a subverted monitor, by a subverted process, by an ordinary guest."""
