"""What bodies look like: each model is a schema of the reference."""
