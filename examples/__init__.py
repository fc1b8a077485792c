"""Projects that run: flights, whose labels come by themselves, and digits, whose labels come from people."""
