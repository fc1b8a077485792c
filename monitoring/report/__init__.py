"""Reports: HTML pages that need nothing else, and the data of their charts."""
