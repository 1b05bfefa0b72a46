"""Data sets by name; each loader gives the same arrays every time it is asked."""
