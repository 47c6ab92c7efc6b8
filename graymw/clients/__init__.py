"""Outbound calls: each client library is imported by one module here, and only where the application uses it."""
