"""numpyexample: A Flower / NumPy app."""
