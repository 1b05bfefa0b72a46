"""Suites and a loopback federation for those who write engines, and for our own tests."""
