"""Who may come in: by key (`keys`), or from this machine alone where there are no keys (`loopback`)."""
