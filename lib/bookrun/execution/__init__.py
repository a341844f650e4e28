"""Execute what is stale: freshness, the schedule, kernels and their processes."""
