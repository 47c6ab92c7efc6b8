"""Nacos: push over gRPC, the HTTP APIs of its release lines, log-in and signatures."""
