"""A lab elsewhere, with the verbs of ``Lab`` and ``Run``, over HTTP and WebSocket."""
