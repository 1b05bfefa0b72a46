"""A form to start a run with."""
