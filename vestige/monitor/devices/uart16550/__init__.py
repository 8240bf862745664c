"""The serial port: National's PC16550D."""
