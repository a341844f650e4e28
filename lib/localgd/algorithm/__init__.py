"""Algorithm 1, round by round: the local phase, the average, the trace and the checkpoint.

`run` executes it.  Each module holds one part; the public names are those of `localgd`.
"""
