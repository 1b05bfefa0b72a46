"""One run, live: its curves, clients, story, log and use of the machine."""
