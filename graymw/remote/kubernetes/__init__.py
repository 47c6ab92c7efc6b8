"""The Kubernetes API as far as graymw reads it."""
