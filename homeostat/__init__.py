"""Homeostat: project file, settings, records, errors, metrics, sequential tests, hooks, lake and store."""
