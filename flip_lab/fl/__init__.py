"""What runs on nodes: data, partitions, models, strategies and the apps of a Scenario."""
