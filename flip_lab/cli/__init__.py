"""The command ``flip-lab``."""
