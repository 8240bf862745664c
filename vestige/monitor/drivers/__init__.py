"""What lies below the models: block drivers."""
