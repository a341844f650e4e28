"""Carry out one command each: what a user types after `make`."""
