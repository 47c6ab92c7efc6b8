"""Instances from the EndpointSlices of Kubernetes, with versions from Pods or from one Service for each version.

Pods are registered by the platform, so nothing registers itself here.
"""
