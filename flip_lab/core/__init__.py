"""Plain data and protocols: what every other room of the house may rely on."""
