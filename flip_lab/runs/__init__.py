"""The one service: launch runs, find them again, steer them, read what they left."""
