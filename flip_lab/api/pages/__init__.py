"""Pages that look at a board by WebSocket: any number of them at the same one."""
