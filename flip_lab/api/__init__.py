"""The lab over HTTP and WebSocket: one app for Jupyter, `flip-lab serve` and a hub."""
