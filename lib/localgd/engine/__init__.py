"""Evaluate a chunk of nodes: record the operations, rewrite, compile or capture them."""
