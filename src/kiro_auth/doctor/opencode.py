"""Which OpenCode is on the PATH, and what is known of it; the catalogue of models that it keeps."""

from __future__ import annotations

from collections.abc import Iterator

from kiro_auth.doctor.finding import Finding
from kiro_auth.doctor.plugin import INSTALL
from kiro_auth.opencode import places
from kiro_auth.opencode.catalogue import kiro_listing
from kiro_auth.opencode.install import has_shim
from kiro_auth.opencode.release import Found, generation, standing


def opencode(found: Found) -> Iterator[Finding]:
    """Which release is on the PATH, and what is known of the plugin in it."""
    installed = any(map(has_shim, places.plugin_folders()))
    if found is None:
        if installed:
            what = "there is no program opencode on the PATH, so its release was not looked at"
            yield Finding("opencode", "ok", what)
        return
    told = standing(found)
    level = "warning" if told.level == "fault" and not installed else told.level
    yield Finding("opencode", level, told.message, told.remedy)


def catalogue(found: Found) -> Iterator[Finding]:
    """Whether the catalogue of models that OpenCode keeps here has a provider kiro too."""
    listing = kiro_listing()
    if listing is None:
        return
    what = (
        f"OpenCode's catalogue of models ({listing.file}) lists a provider kiro with {listing.models} models"
    )
    if has_shim(places.plugin_folder(generation(found))):
        told = f"{what}; the plugin's models take their place, so none stands twice"
        yield Finding("catalogue", "ok", told)
    else:
        told = f"{what}. They do not work without the plugin."
        yield Finding("catalogue", "warning", told, INSTALL)
