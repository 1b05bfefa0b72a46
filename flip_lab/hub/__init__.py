"""The server that devices and researchers meet at: one process, one port, one lab."""
