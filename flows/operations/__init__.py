"""What is done outside of a tick: by a person, or between ticks."""
