"""Measurements that anyone can repeat with one command: a published table or figure, or a claim, each."""
