"""Models at a site: what a hub delivered, kept, and answering predictions."""
