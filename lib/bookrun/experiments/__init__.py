"""Run, record and compare the experiments behind the figures of deep networks."""
