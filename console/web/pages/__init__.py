"""The pages, one router for each."""
