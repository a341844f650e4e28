"""Speed comparisons: `make bench`."""
