"""The web page and the HTTP API: how a person and other systems drive Homeostat from a browser or a program."""
