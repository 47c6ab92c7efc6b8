"""Protocols of config centres and registries, shared by the rule sources and the registries built on them."""
