"""Is the machine fit: what `homeostat doctor` looks at, each a plain function that returns findings."""
