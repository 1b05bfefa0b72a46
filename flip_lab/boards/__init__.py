"""What live faces draw: plain models of runs, labs and forms; no Jupyter, no HTTP."""
