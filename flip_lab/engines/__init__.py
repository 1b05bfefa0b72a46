"""Where a run happens: engines that open a Grid, and the wrapper around any of them."""
