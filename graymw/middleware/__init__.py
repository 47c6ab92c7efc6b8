"""The server side: ASGI, WSGI, gRPC, and what each web framework needs on top."""
