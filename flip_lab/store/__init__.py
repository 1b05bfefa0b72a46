"""What happened, kept: journals while a run writes, SQL and frames for who reads."""
