"""The command `kiro-auth`: which verbs there are.  Each lives in a module of its name."""

from __future__ import annotations

import typer
from typer.main import get_command

from kiro_auth.cli import (
    accounts,
    completion,
    config,
    dashboard,
    demo,
    doctor,
    explain,
    install,
    key,
    keys,
    login,
    logout,
    logs,
    measure,
    models,
    reload,
    report,
    run,
    serve_command,
    service,
    simulate,
    status,
    store,
    usage,
)
from kiro_auth.cli.help import Commands, examples
from kiro_auth.cli.straight import VERSION

START, ACCOUNTS, GATEWAY, SETUP, TRY = "Start", "Accounts", "Gateway", "Setup", "Try it without an account"
"""The panels of the help; a verb is in the one that is given with it."""

app = Commands(
    name="kiro-auth",
    help="Use the Claude models of your own AWS Kiro accounts in the coding agent you already have.",
    epilog=examples(
        "kiro-auth login                sign in with your own account",
        "kiro-auth install opencode     then choose a Kiro model in OpenCode",
        "kiro-auth run claude           or start another agent on your account",
        "kiro-auth doctor               see what is wrong, and what to do about it",
    ),
    no_args_is_help=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Use the Claude models of your own AWS Kiro accounts in the coding agent you already have."""


LOGIN = examples(
    "kiro-auth login",
    "kiro-auth login --builder-id --no-browser",
    "kiro-auth login --start-url https://d-1234567890.awsapps.com/start --region eu-west-1",
    "kiro-auth login --api-key < key.txt",
)
RUN = examples("kiro-auth run claude", "kiro-auth run --model claude-sonnet-4.5 codex exec 'explain this'")
ENV = examples('eval "$(kiro-auth env claude)"', "kiro-auth env codex --json")
SERVE = examples("kiro-auth serve", "kiro-auth serve --port 8787 --verbose")
USAGE = examples(
    "kiro-auth usage",
    "kiro-auth usage --by project --since 2026-11-01",
    "kiro-auth usage --by day --csv > credits.csv",
    "kiro-auth usage --diet",
)
DASHBOARD = examples("kiro-auth dashboard", "kiro-auth dashboard --no-browser")
STATUS = examples(
    "kiro-auth status --json",
    "kiro-auth status --health                 in a container: HEALTHCHECK CMD",
)
RELOAD = examples("kiro-auth config check && kiro-auth reload")
LOGS = examples("kiro-auth logs -f", "kiro-auth logs -n 500 --json")
COMPLETION = examples(
    "source <(kiro-auth completion bash)       in ~/.bashrc",
    "source <(kiro-auth completion zsh)        in ~/.zshrc, after compinit",
    "kiro-auth completion fish > ~/.config/fish/completions/kiro-auth.fish",
)
SIMULATE = examples("kiro-auth simulate --auto-approve", "kiro-auth simulate --scenario people.json --json")
DEMO = examples("kiro-auth demo", "kiro-auth demo --keep")

app.command("login", rich_help_panel=START, epilog=LOGIN)(login.login)
app.command("install", rich_help_panel=START, epilog=examples("kiro-auth install opencode"))(install.install)
app.command("run", rich_help_panel=START, epilog=RUN, context_settings=run.PASSED_ON)(run.run)
app.command("env", rich_help_panel=START, epilog=ENV)(run.env)
app.command("uninstall", rich_help_panel=START)(install.uninstall)

app.add_typer(accounts.app, name="accounts", rich_help_panel=ACCOUNTS)
app.command("usage", rich_help_panel=ACCOUNTS, epilog=USAGE)(usage.usage)
app.command("models", rich_help_panel=ACCOUNTS)(models.models)
app.add_typer(measure.app, name="measure", rich_help_panel=ACCOUNTS)
app.command("logout", rich_help_panel=ACCOUNTS, epilog=examples("kiro-auth logout ada"))(logout.logout)

app.command("serve", rich_help_panel=GATEWAY, epilog=SERVE)(serve_command.serve)
app.add_typer(service.app, name="service", rich_help_panel=GATEWAY)
app.add_typer(key.app, name="key", rich_help_panel=GATEWAY)
app.add_typer(keys.app, name="keys", rich_help_panel=GATEWAY)
app.command("dashboard", rich_help_panel=GATEWAY, epilog=DASHBOARD)(dashboard.dashboard)
app.command("status", rich_help_panel=GATEWAY, epilog=STATUS)(status.status)
app.command("reload", rich_help_panel=GATEWAY, epilog=RELOAD)(reload.reload)
app.command("stop", rich_help_panel=GATEWAY)(status.stop)

app.command("logs", rich_help_panel=GATEWAY, epilog=LOGS)(logs.logs)

app.command("doctor", rich_help_panel=SETUP, epilog=examples("kiro-auth doctor", "kiro-auth doctor --fix"))(
    doctor.doctor
)
app.command("explain", rich_help_panel=SETUP, epilog=examples("kiro-auth explain KA-QUOTA"))(explain.explain)
app.command("report", rich_help_panel=SETUP)(report.report)
app.add_typer(config.app, name="config", rich_help_panel=SETUP)
app.add_typer(store.app, name="store", rich_help_panel=SETUP)
app.command("completion", rich_help_panel=SETUP, epilog=COMPLETION)(completion.completion)

app.command("demo", rich_help_panel=TRY, epilog=DEMO)(demo.demo)
app.command("simulate", rich_help_panel=TRY, epilog=SIMULATE)(simulate.simulate)

command = get_command(app)
"""All verbs, as they are run."""
