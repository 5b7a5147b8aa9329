"""Which OpenCode is on the PATH, and what is known of it; the catalogue of models that it keeps."""

from __future__ import annotations

from collections.abc import Iterator

from kiro_auth.doctor.finding import Finding
from kiro_auth.doctor.plugin import INSTALL
from kiro_auth.opencode import places
from kiro_auth.opencode.catalogue import kiro_listing
from kiro_auth.opencode.install import has_shim
from kiro_auth.opencode.release import Installed, generation, standing


def opencode(installed: Installed) -> Iterator[Finding]:
    """Which release is on the PATH, and what is known of the plugin in it."""
    has_plugin = any(map(has_shim, places.plugin_folders()))
    if installed is None:
        if has_plugin:
            what = "there is no program opencode on the PATH, so its release was not looked at"
            yield Finding("opencode", "ok", what)
        return
    verdict = standing(installed)
    level = "warning" if verdict.level == "fault" and not has_plugin else verdict.level
    yield Finding("opencode", level, verdict.message, verdict.remedy)


def catalogue(installed: Installed) -> Iterator[Finding]:
    """Whether the catalogue of models that OpenCode keeps here has a provider kiro too."""
    listing = kiro_listing()
    if listing is None:
        return
    what = (
        f"OpenCode's catalogue of models ({listing.file}) lists a provider kiro with {listing.models} models"
    )
    if has_shim(places.plugin_folder(generation(installed))):
        text = f"{what}; the plugin's models replace them, so none is listed twice"
        yield Finding("catalogue", "ok", text)
    else:
        text = f"{what}. They do not work without the plugin."
        yield Finding("catalogue", "warning", text, INSTALL)
