"""What runs at a site: a warm node of real devices, with its own data and its own rules."""
