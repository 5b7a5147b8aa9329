"""How much memory the C library has given out: that of OpenSSL as well, of which Python knows nothing."""

from __future__ import annotations

import ctypes


class _Figures(ctypes.Structure):
    """`struct mallinfo2`; `in_use` is its `uordblks`."""

    _fields_ = (
        *(
            (name, ctypes.c_size_t)
            for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")
        ),
        *((name, ctypes.c_size_t) for name in ("in_use", "fordblks", "keepcost")),
    )


def allocated() -> int:
    """Bytes that the C library has given out.  Of Linux with glibc alone, which can tell."""
    tell = ctypes.CDLL(None).mallinfo2
    tell.restype = _Figures
    return int(tell().in_use)
