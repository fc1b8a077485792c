"""The stages of a tick, as `sequence` orders them: from ingest to notify."""
