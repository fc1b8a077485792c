"""The alarm on the loss of a lineage: its rule, and what it remembers."""
