"""Import this before anything imports aiohttp, and its import reads no certificates.

aiohttp makes a TLS context as it is imported, for sessions that are given none, with every certificate that
OpenSSL finds: on many machines that is half of the import's time.  Sessions here are given a context of their
own (`kiro/edge/trust.py`), so its own one may trust nobody.  OpenSSL looks where these variables say.
"""

from __future__ import annotations

import os
import sys

_NOWHERE = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}

if "aiohttp" not in sys.modules:
    before = {name: os.environ.get(name) for name in _NOWHERE}
    os.environ.update(_NOWHERE)
    try:
        import aiohttp  # noqa: F401 (that it is imported is all)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
