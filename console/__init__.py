"""Console: the command line, the web page, and the services that `homeostat up` runs."""
