"""etcd by its JSON gateway (``/v3``), release 3.4 and later.

Facts of the protocol that shape this package: keys and values are base64, 64-bit numbers are strings, and fields that
are zero, false or empty are left out.
"""
