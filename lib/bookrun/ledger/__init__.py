"""Keep the claims ledger: its rows, the evidence, the verdicts computed from it."""
