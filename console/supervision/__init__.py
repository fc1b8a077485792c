"""The services of an installation: what each is made of, how they are kept running, and how a person sees them."""
