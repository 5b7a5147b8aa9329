"""What `kiro-auth doctor` looks at on this machine, one matter after the other.

Nothing here changes anything; a finding may hold what would mend it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from kiro_auth import __version__
from kiro_auth.config import Config
from kiro_auth.doctor.configuration import configuration
from kiro_auth.doctor.files import files
from kiro_auth.doctor.finding import Finding, failed
from kiro_auth.doctor.gateway import gateway
from kiro_auth.doctor.opencode import catalogue, opencode
from kiro_auth.doctor.plugin import plugin
from kiro_auth.doctor.secrets import secrets
from kiro_auth.failures import KiroAuthError
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.opencode.release import find_release
from kiro_auth.os_errors import reason


def of_this_machine(config: Config) -> Iterator[Finding]:
    """All that can be looked at without asking the service.  A look that fails is a finding itself."""
    yield from version()
    release = find_release()
    looks = {
        "configuration": configuration(config),
        "files": files(config_folder(), state_folder()),
        "secrets": secrets(config),
        "plugin": plugin(release),
        "opencode": opencode(release),
        "catalogue": catalogue(release),
        "gateway": gateway(state_folder()),
    }
    for check, look in looks.items():
        try:
            yield from look
        except OSError as error:
            what = f"{error.filename} cannot be read: {reason(error)}."
            yield Finding(check, "fault", what, "Check its owner and mode.")
        except KiroAuthError as error:
            yield failed(check, "fault", error.failure)


def version() -> Iterator[Finding]:
    """What runs here."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("version", "ok", f"kiro-auth {__version__} on Python {python}, {sys.platform}")
