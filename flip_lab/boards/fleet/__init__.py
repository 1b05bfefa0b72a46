"""What the nodes of a lab did, over all runs."""
