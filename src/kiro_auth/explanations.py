"""What usually leads to each failure, for `kiro-auth explain` and docs/failures.md."""

from __future__ import annotations

from typing import Final

CAUSES: Final[dict[str, str]] = {
    # --- the request
    "KA-REQUEST": (
        "The client asks for something that no Kiro model has, or sends a field with a value that cannot be "
        "read. The message names the field."
    ),
    "KA-BODY": (
        "The gateway makes every conversation acceptable before it sends it, so this is mostly a case that "
        "this program does not know yet. Now and then Kiro adds a rule."
    ),
    "KA-SIGNATURE": (
        "The conversation holds reasoning that another model or another account signed, or that a client "
        "changed."
    ),
    "KA-CONTINUE": "The conversation was begun with a model whose reasoning this one cannot go on from.",
    "KA-TOOLS": (
        "There are very many tools, two of the same name, or a tool whose schema Kiro does not take. MCP "
        "servers are the usual source."
    ),
    "KA-IMAGE": (
        "The image is too large, of a format that Kiro does not know, not what its type says, or one too "
        "many; or the model sees no images."
    ),
    "KA-DOCUMENT": (
        "The document is too large, has too many pages or a password, or one of the same name is there "
        "already; or the model reads no documents."
    ),
    "KA-FIELDS": (
        "A setting such as an effort or an output limit was asked for, and Kiro refuses it for this model. "
        "The request is sent once more without it."
    ),
    "KA-OVERFLOW": (
        "The conversation has grown too long: long files and tool results count in full, at every turn. "
        "Most clients sum it up by themselves when they meet this."
    ),
    "KA-CONVERSATION": (
        "Kiro counts the turns of one conversation and takes no more after a number that it does not name."
    ),
    "KA-MODEL": (
        "The name is misspelled, the model was withdrawn, or the plan or the region of the account does not "
        "have it. Free plans have fewer models."
    ),
    "KA-SIZE": (
        "The body of the request is larger than 64 MiB, mostly because of images in the history, or it has "
        "more than 500,000 JSON values, which no model could read."
    ),
    "KA-ENCODING": "The client packs its requests in a way that is not gzip, deflate, br or zstd.",
    "KA-HEADERS": (
        "The headers of the request are larger than 64 KiB: a proxy or a browser has added cookies."
    ),
    "KA-BUDGET": (
        "budgets in kiro.json says how many credits may be spent in a day, by one project or key, or in one "
        "conversation; reserve, how much of a plan is kept back. kiro-auth usage --by project, session or "
        "key says where they went. What a turn costs is known when it has ended, so the turn that uses a "
        "budget up is answered to its end."
    ),
    "KA-ORIGIN": (
        "A web page tried to reach the gateway; or a container, another machine or a desktop program calls "
        "it by a name that it does not know as its own."
    ),
    "KA-KEY": "The program was told the key of an earlier gateway, or none.",
    "KA-KEY-EXPIRED": "The key was made with --expires, and that time has come.",
    "KA-KEY-REVOKED": (
        "The owner of the gateway revoked the key, or gave it another secret while a page of its holder was "
        "open: kiro-auth keys list --audit says when."
    ),
    "KA-KEY-ADMIN": (
        "A client key is for the APIs, for GET /kiro/me and for its holder's page of the dashboard. The rest "
        "of /kiro/, /metrics and the dashboard are for the owner of the gateway."
    ),
    "KA-KEY-MODEL": (
        "The key was made with --models, and the name that the client sends means none of them; or Kiro has "
        "another model under that name for the account."
    ),
    "KA-KEY-ACCOUNT": (
        "The key was made with --accounts, and x-kiro-account names another account; or the accounts that it "
        "is for were removed."
    ),
    "KA-KEY-BUDGET": (
        "The key was made with --budget, and so many credits are spent in this day or month. What a turn "
        "costs is known when it has ended, so the turn that uses a budget up is answered to its end."
    ),
    "KA-KEY-CONCURRENCY": (
        "The key was made with --concurrency. Windows, sub-agents and titles of conversations count each."
    ),
    "KA-ACCOUNT": (
        "A name after --account, in the header x-kiro-account or behind a command is misspelled or fits "
        "several accounts; or the account was removed, got another label, or you switched it off."
    ),
    # --- the account
    "KA-TOKEN": (
        "The access token ended earlier than Kiro had said, as after a sign-out elsewhere. The gateway "
        "renews it and sends the request once more."
    ),
    "KA-SIGNIN": (
        "The sign-in has run out (an organisation decides after how long), was taken back, or another "
        "program used its refresh token, which counts only once."
    ),
    "KA-SUSPENDED": (
        "AWS has decided so; only AWS knows why. Users report it after unusual traffic and after the use of "
        "an account by several people."
    ),
    "KA-QUOTA": (
        "The credits of the plan are spent, or those of an hour, day or week where Kiro limits these. Large "
        "models and long conversations spend them faster. A job that nobody watches can wait for the reset "
        "instead of failing: wait_for_reset in kiro.json."
    ),
    "KA-OVERAGE": (
        "Use beyond the plan is switched on for the account, and has reached the limit that was set for it."
    ),
    "KA-THROTTLE": (
        "More requests came in a short time than Kiro allows the account, often from several windows or "
        "sub-agents at once. With a second account of yours the gateway goes on there."
    ),
    "KA-ACTIVITY": (
        "Kiro's own watch has taken the traffic of the account for unusual. Kiro does not say what it saw."
    ),
    "KA-ENTITLEMENT": (
        "The plan has no such feature or model, the organisation has switched it off, or the account is "
        "asked for in a region where it is not served."
    ),
    "KA-PROFILE": (
        "An organisation's account is served through a Kiro profile, and nobody has assigned one to it; or "
        "the profile is in a region that was not looked in."
    ),
    "KA-KMS": (
        "The organisation encrypts its data with a key of its own, and that key is disabled or does not let "
        "Kiro use it."
    ),
    "KA-NO-ACCOUNT": "Nobody has signed in on this machine yet, or the last account was removed.",
    "KA-ACCOUNTS-BUSY": (
        "Each account has a reason of its own, which the message lists: a limit, a sign-in that has ended, "
        "or you switched it off."
    ),
    # --- the service and the way to it
    "KA-CAPACITY": "Too many people use the model at the moment. It passes, mostly within minutes.",
    "KA-SERVICE": (
        "Kiro answered with a fault of its own, or something between here and Kiro answered in its place."
    ),
    "KA-NETWORK": (
        "There is no connection, a name cannot be looked up, a firewall or a proxy is in the way, or a "
        "certificate of your company is not known here. The message says which host."
    ),
    "KA-CUT": (
        "The connection ended in the middle of an answer, as when a machine sleeps or a network changes. "
        "What had come is shown; half a tool call is never run."
    ),
    "KA-TIMEOUT": (
        "Kiro took the request and stayed silent. Long conversations with a lot of reasoning need more time "
        "than others."
    ),
    # --- this installation
    "KA-CONFIG": (
        "A value in kiro.json, a variable that begins with KIRO_, or a word on the command line is not one "
        "of those that are allowed. The message names it."
    ),
    "KA-STORE": (
        "The disk is full, the file belongs to somebody else or was damaged, or another program holds it "
        "for too long. Or one account was damaged there, or sealed with a key that is not set; the others "
        "serve."
    ),
    "KA-DATABASE": (
        "The database that KIRO_STORE or `store` of kiro.json names is not running or not reachable from "
        "here, its user or password is another one, its tables are those of an older release, it takes no "
        "changes (a standby), or its disk is full. Answers that had begun go on; requests are taken again "
        "as soon as it answers."
    ),
    "KA-KEYRING": (
        "`secrets` of kiro.json is keyring, and the keyring is locked, asks for its password in a window, "
        "is not there (a shell over SSH, a service without a session) or refuses. Tokens that are in memory "
        "go on being used. A new token that cannot be put into the keyring is kept in a file of the state "
        "folder, with mode 0600, until it can; none is written into kiro-accounts.json instead."
    ),
    "KA-STRANGER": "The gateway has ended, and another program has taken the port that it listened at.",
    "KA-GATEWAY": (
        "The machine has more to do than it can, the gateway hangs, or it was stopped or ended unused just "
        "when a command had asked it. With status 503: a program connected to the gateway and sent no "
        "request for 15 seconds, or for less where more than a thousand did so."
    ),
    "KA-PORT": (
        "The port that the gateway keeps between starts was taken by another program or cannot be had, "
        "the file that it is kept in was damaged, or --port asked for another one."
    ),
    "KA-OIDC": (
        "The sign-in took more than ten minutes, was begun in another browser or before the gateway's last "
        "start, was refused at the company, or the clocks of the two machines differ by more than a minute."
    ),
    "KA-OIDC-PERSON": (
        "The person is neither among `operators` nor among `holders`, the key of that name is not there, or "
        "the company does not say that the e-mail is verified (`email_verified`)."
    ),
    "KA-OIDC-PROVIDER": (
        "The company's server is down or not reachable from the gateway, or something between answers in its "
        "place."
    ),
    "KA-LOGIN": (
        "The code ran out before it was confirmed, the request was refused in the browser, or the start URL "
        "or region is not that of your organisation."
    ),
    "KA-INTERNAL": "A defect of this program.",
}
"""By code."""
