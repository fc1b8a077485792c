"""Realized performance of a window, and the bounds that its missing labels leave."""
