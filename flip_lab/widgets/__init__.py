"""What a run looks like while it goes: in a notebook, a terminal or an exported page."""
