"""Labels: which to ask for, by what chance, and how far the answers agree and can be trusted."""
