"""The options of `kiro.json`: names, defaults, ranges, words; and what an entry of `endpoints` may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from kiro_auth.addresses import is_network
from kiro_auth.kinds import KINDS
from kiro_auth.option_kinds import (
    Kind,
    aliases,
    budgets,
    choice,
    company_sign_in,
    fallback,
    file,
    https_url,
    region,
    store,
    switch,
    template,
    text,
    texts,
    whole,
    words,
)

KEY_VARIABLE: Final = "KIRO_API_KEY"
"""The environment variable whose key is an account of whatever process has it; it is never written down."""
_PROFILE_ARN: Final = r"arn:aws[a-z-]*:[a-z]+:[a-z0-9-]+:[0-9]*:profile/.+"
_HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_NETWORK: Final = r"[0-9a-fA-F.:]+(/[0-9]+)?"
_NETWORKS: Final = "a list of addresses or networks such as 10.0.0.0/8"
_ORIGIN: Final = r"[a-z][a-z0-9+.-]*://[^/\s?#*,]*"
STRATEGIES: Final = ("sticky", "round-robin", "lowest-usage")
ROLES: Final = ("runtime", "management", "oidc", "desktop_auth", "external_idp")


class Option(Struct, frozen=True):
    """One option."""

    name: str
    default: Any
    kind: Kind
    help: str
    other_name: str = ""
    """What later versions of the original call it in their file, where that differs."""

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "KIRO_" + self.name.upper()


OPTIONS: Final[tuple[Option, ...]] = (
    Option("account_selection_strategy", "lowest-usage", choice(*STRATEGIES),
            "Which account takes a new conversation."),
    Option("default_region", "us-east-1", region(), "The region of a sign-in that names none."),
    Option("rate_limit_retry_delay_ms", 5000, whole(1000, 60000),
            "The first wait after a rate limit; it doubles each time, up to a quarter is added at random."),
    Option("rate_limit_max_retries", 3, whole(0, 10), "How often a rate-limited request is tried again."),
    Option("max_request_iterations", 100, whole(10, 1000),
            "How many calls to the service one request may cause, whatever happens."),
    Option("request_timeout_ms", 300_000, whole(60_000, 600_000),
            "The longest wait for the first word, over all attempts; then the longest time in which the "
            "service adds nothing to the answer, or a client takes nothing."),
    Option("token_expiry_buffer_ms", 120_000, whole(30_000, 300_000),
            "How long before its end an access token is renewed."),
    Option("usage_sync_max_retries", 3, whole(0, 5), "How often reading the usage is tried again."),
    Option("auth_server_port_start", 19847, whole(1024, 65535),
           "The first port that is tried for the page that shows a sign-in."),
    Option("auth_server_port_range", 10, whole(1, 100), "How many ports are tried for that page."),
    Option("usage_tracking_enabled", True, switch(), "Read the accounts' usage from the service."),
    Option("enable_log_api_request", False, switch(),
            "Note every request in requests.jsonl of the state folder, without its words and secrets."),
    Option("sso_start_url", None, https_url(), "Your organisation's start URL for IAM Identity Center.",
           "idc_start_url"),
    Option("sso_region", None, region(), "The region of your organisation's IAM Identity Center.",
           "idc_region"),
    Option("sso_profile_arn", None, text(_PROFILE_ARN, "the ARN of a Kiro profile"),
           "The Kiro profile to use where your organisation gave you several.", "idc_profile_arn"),
    Option("store", "files", store(),
           "Where accounts are kept: in files of this user; in one file, kiro-accounts.sqlite3, for many "
           "accounts or several gateways on this machine (sqlite); or sealed in a database that gateways on "
           "any machine share: postgresql://user@host:port/name. See `kiro-auth store --help`."),
    Option("secrets", "files", choice("files", "keyring"),
           "Where tokens are kept: in the file of accounts, or in the system's keyring (which needs the "
           "extra `keyring`). `kiro-auth accounts migrate-secrets` moves those that are there."),
    Option("ledger", True, switch(),
           "Keep figures of every turn, without its words, in ledger.sqlite3 of the state folder or in the "
           "database that `store` names: what `kiro-auth usage --by` counts."),
    Option("ledger_projects", True, switch(),
           "Keep with them the name of the folder that a client works in, where it tells it."),
    Option("budgets", {}, budgets(),
           "Credits that may be spent in a day, and in it by one project or key; and in one conversation. "
           "You are told at 80 %; at 100 % requests are refused (KA-BUDGET)."),
    Option("share_accounts", False, switch(),
           "Two client keys (`kiro-auth keys`) may name the same account. Read before in README.md what the "
           "terms say of accounts that several people use."),
    Option("reserve", 0, whole(0, 90),
           "Per cent of each account's plan that are kept back: with so little left it takes no requests."),
    Option("wait_for_reset", 0, whole(0, 72),
           "Hours that a request may wait for the reset that Kiro named, when the plans of all accounts are "
           "used up, instead of failing; 0: none. A streamed answer is kept alive with pings meanwhile."),
    Option("thrift", False, switch(),
           "Have titles and summaries written by the cheapest model that Kiro lists, where the client says "
           "that a request is for one. Usage, log and answer name the model."),
    Option("toast_credits", False, switch(),
           "Show in OpenCode after each turn what it used, and its conversation so far."),
    Option("model_rates", False, switch(),
           "Show in OpenCode behind a model's name how much it costs beside others (2.2×)."),
    Option("toast_level", "all", choice("all", "warnings", "none"),
           "What OpenCode's windows show by themselves: figures and warnings, warnings alone, or nothing."),
    Option("max_concurrent_per_account", 4, whole(1, 100),
            "How many requests one account serves at a time; more wait or go to another account."),
    Option("drain_seconds", 0, whole(0, 600),
            "How long a gateway that gets SIGTERM still takes requests while /ready says 503, so that "
            "balancers before it can send theirs elsewhere; 0: it closes its doors at once."),
    Option("grace_seconds", 10, whole(0, 3600),
            "How long answers under way may go on when the gateway ends; then they end with an error."),
    Option("tls_cert", None, file(),
            "The file with the certificate, and those between it and its authority (PEM): what is served at "
            "--host speaks TLS. A new one in its place counts within seconds."),
    Option("tls_key", None, file(),
            "The file with the certificate's private key (PEM, without a password)."),
    Option("trusted_proxies", [], texts(_NETWORK, _NETWORKS, is_network),
            "Addresses or networks of the proxies before the gateway, which alone are believed in what "
            "X-Forwarded-For, Forwarded and X-Forwarded-Proto say of clients."),
    Option("allow_host", [], texts(_HOST, "a list of names without a port, such as host.docker.internal"),
           "Further names for this machine that a Host header may have: those that containers know it by."),
    Option("allow_origin", [], texts(_ORIGIN, "a list of origins such as app://obsidian.md"),
           "Origins that are let in, exactly as they are: desktop programs made of a browser's engine."),
    Option("model_aliases", {}, aliases(),
           "Names of your own for models, such as {\"fast\": \"claude-haiku-4-5\"}; they count first."),
    Option("model_fallback", [], fallback(),
           "Which model answers when one (`*`: any) fails so before its first word; the first rule that fits "
           "counts, and the model that answered is told."),
    Option("metrics_access", "key", choice("key", "open"),
           "Who may read /metrics: whoever has the gateway's key, or any program of this machine."),
    Option("dashboard_oidc", None, company_sign_in(),
           "Who may sign in to the dashboard by the company's OpenID Connect (which needs the extra `oidc`): "
           "`operators` see all of it, `holders` the page of the client key of that name."),
    Option("update_check", True, switch(),
           "Tell at most once a day, in a terminal, of a newer release that `update_index` lists."),
    Option("update_index", None, https_url(),
           "Where to ask for the newest release, as PyPI answers at /pypi/NAME/json. Without it none is "
           "asked: none of ours is known yet."),
)  # fmt: skip

ENDPOINT: Final[Mapping[str, Kind]] = {
    "url": template(),
    "protocol": choice("rest", "rpc"),
    "target_prefix": text(r"[\w.]*", "the name of a service"),
    "path": text("/.*", "a text that begins with /"),
    "origin": text(r"\w*", "one word"),
    "kinds": words(*KINDS),
}
"""What an entry of `endpoints` may say, where it is not only the URL."""

WITHOUT_EFFECT: Final = (
    "auto_sync_kiro_cli",
    "builder_id_start_url",
    "image_carry_forward",
)
"""Options of the original that mean nothing here; its files are taken as they are, so nothing is said."""


USAGE_TOASTS: Final = "usage_toast_enabled"
"""The original's switch for figures; false is our `toast_level` warnings."""
