"""The one place that touches Flower's private modules, so that a new Flower breaks it alone."""
