"""The truth: what must outlive the process. SQLite by default, PostgreSQL where one machine is not enough."""
