"""What the host gives to the guest's firmware."""
