"""kiro-auth as a process whose clock is ahead by as many seconds as a file says: `shifted.py FILE serve …`.

The clock is set before anything of the program is imported, as defaults of arguments keep the one they found.
"""

from __future__ import annotations

import os
import sys
import time

if __name__ == "__main__":
    _, file, *arguments = sys.argv
    handle = os.open(file, os.O_RDONLY)
    real = time.time
    time.time = lambda: real() + float(os.pread(handle, 32, 0))
    from kiro_auth.cli.main import main

    sys.argv = ["kiro-auth", *arguments]
    main()
