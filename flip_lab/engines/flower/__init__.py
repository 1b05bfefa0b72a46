"""The one place for Flower's private modules: a new Flower breaks this and no more."""
