"""legacyexample: A Flower / NumPy app."""
