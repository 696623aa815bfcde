"""Long work: a row in the database before the upstream is asked, one poller, results brought in at once."""
