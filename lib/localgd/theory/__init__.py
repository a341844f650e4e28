"""Theory beside the runs: worst cases by performance estimation, and functions that attain them."""
