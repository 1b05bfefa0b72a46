"""What changes while somebody looks: the list of runs, and the events of each."""
