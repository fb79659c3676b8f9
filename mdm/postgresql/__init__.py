"""Django's backend for PostgreSQL with one difference: a look at the socket instead of a question."""
