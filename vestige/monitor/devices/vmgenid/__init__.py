"""The virtual machine generation ID: by which a guest learns that it is a copy."""
