"""`kiro-auth install opencode` and `kiro-auth uninstall opencode`."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import typer

from kiro_auth.cli.imports import find_held
from kiro_auth.cli.output import confirmed, is_interactive, note_failure, print_note, say
from kiro_auth.cli.waiting import waiting
from kiro_auth.failures import ConfigFailed, Failure, KiroAuthError
from kiro_auth.launch import start_command

if TYPE_CHECKING:
    from kiro_auth.login.tools.held import Held
    from kiro_auth.opencode.plugin_list import Entry
    from kiro_auth.opencode.release import Installed


class Client(StrEnum):
    """Programs that a plugin exists for."""

    OPENCODE = "opencode"


CLIENT = typer.Argument(Client.OPENCODE, help="The program.")
GOING_BACK: Final = "Tokens renewed here are not put back, so the earlier plugin may ask for a new sign-in."


def install(
    client: Client = CLIENT,
    yes: bool = typer.Option(False, "--yes", help="Take the place of another Kiro plugin without asking."),
) -> None:
    """Put the plugin into OpenCode.

    It says what is known of the plugin in the release that is on the PATH. Where another Kiro plugin is
    configured it says what taking its place means, and asks: its entry goes out of OpenCode's configuration,
    a copy of which is kept; its accounts are taken over. `uninstall` undoes it. Where nobody can be asked it
    changes nothing then, unless --yes is given.
    """
    from kiro_auth.folders import state_folder
    from kiro_auth.opencode import places
    from kiro_auth.opencode.install import install_shim
    from kiro_auth.opencode.plugin_list import other_kiro_plugins, take_out
    from kiro_auth.opencode.release import find_release, generation

    with waiting("Asking OpenCode for its version"):
        installed = find_release()
    folder = places.plugin_folder(generation(installed))
    others = other_kiro_plugins(places.configuration_files(generation(installed)))
    held = _held_by_the_original(others)
    if others or held:
        _explain(others, held)
        yes = yes or _confirmed()
        if others and not yes:
            raise ConfigFailed(
                Failure(
                    code="KA-CONFIG",
                    message="Nothing was changed, as there is no terminal to ask in.",
                    next_step="Add --yes to do it.",
                )
            )
    # First, as it may fail where nothing was changed yet.
    say(f"Installed for {client}: {install_shim(folder, start_command())}")
    for file in dict.fromkeys(entry.file for entry in others):
        if copy := take_out(file, state_folder()):
            say(f"Changed: {file}; the copy is {copy}")
    _print_installed(installed)
    if held and not yes:
        print_note("No sign-in was taken over, as there is no terminal to ask in. Add --yes to do it.")
        return
    if held:
        from kiro_auth.cli.imports import print_taken_over, run_take_over

        print_taken_over(run_take_over(held))
    _say_what_is_next()


def uninstall(client: Client = CLIENT) -> None:
    """Take the plugin out of OpenCode again.

    What `install` took out of OpenCode's configuration is put back. Accounts stay.
    """
    from kiro_auth.folders import state_folder
    from kiro_auth.opencode.install import has_shim, uninstall_shim
    from kiro_auth.opencode.places import plugin_folders
    from kiro_auth.opencode.plugin_list import put_back
    from kiro_auth.opencode.release import SERVICE, find_release, generation

    for file, done in put_back(state_folder()):
        if done:
            say(f"Restored: {file}")
            print_note(GOING_BACK)
        else:
            print_note(f"The configuration was changed since; what it was before is in {file}.")
    folders = plugin_folders()
    installed = [folder for folder in folders if has_shim(folder)] or folders[:1]
    removed = [path for folder in installed if (path := uninstall_shim(folder))]
    for path in removed:
        say(f"Removed from {client}: {path}")
    if not removed:
        say(f"There is no plugin to remove from {client}.")
    elif generation(find_release()) == 2:
        say(SERVICE)


def _say_what_is_next() -> None:
    if _signed_in():
        say("Start OpenCode again, then choose a Kiro model: /models")
    else:
        say("Sign in: opencode auth login (choose Kiro), or kiro-auth login")
        for tool in dict.fromkeys(one.source.tool for one in find_held("auto")):
            say(f"{tool} is signed in here: kiro-auth accounts import shares its sign-in.")


def _print_installed(installed: Installed) -> None:
    """What may add Kiro a second time; which OpenCode is here, and what is known of the plugin in it."""
    from kiro_auth.opencode import places
    from kiro_auth.opencode.release import generation, standing

    for path in places.other_kiro_files(generation(installed)):
        print_note(f"{places.loader(path)} loads {path} as well. If that is a Kiro plugin too, remove it.")
    if installed is None:
        return
    verdict = standing(installed)
    if verdict.remedy is None:
        say(verdict.message)
    else:
        print_note(f"{verdict.message} {verdict.remedy}")


def _confirmed() -> bool:
    """Whether a person said yes; False where nobody can be asked.  A no ends the command."""
    if not is_interactive():
        return False
    if confirmed("Do this?", default=True):
        return True
    say("Nothing was changed.")
    raise typer.Exit(1)


def _held_by_the_original(others: list[Entry]) -> list[Held]:
    """The sign-ins in the original's own database, while its place is being taken."""
    return [] if not others and _signed_in() else find_held("original")


def _signed_in() -> bool:
    """Whether there is an account.  One file that cannot be read keeps nobody from installing."""
    from kiro_auth.gateway.own_store import own_store

    try:
        return bool(own_store().snapshot().accounts)
    except KiroAuthError as error:
        note_failure(error.failure)
        return True


def _explain(others: list[Entry], held: list[Held]) -> None:
    say("Another Kiro plugin was used here. To take its place:")
    for entry in others:
        say(f"- {entry.name} is taken out of {entry.file}; a copy of the file is kept beside it")
    places = Counter((one.source.tool, one.source.path, one.source.linked) for one in held)
    for (tool, path, linked), number in places.items():
        if linked:
            say(f"- {_sign_ins(number)} shared with {tool}, which stays signed in ({path})")
        else:
            say(f"- {_sign_ins(number)} taken over from {path}, which stays as it is")
    say("Its kiro-accounts.json and kiro.json are used as they are.")
    say("To go back: kiro-auth uninstall opencode")
    if any(not one.source.linked for one in held):
        say(GOING_BACK)


def _sign_ins(number: int) -> str:
    return f"{number} sign-ins are" if number > 1 else "1 sign-in is"
