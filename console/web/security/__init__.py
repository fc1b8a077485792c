"""Who may do what: identities, roles, sessions, origins, rate limits, and the middleware that holds them."""
