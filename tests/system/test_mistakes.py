"""The twelve mistakes that people make first: each message names the thing and the remedy.

Each is made as a user makes it: the real program, as a process of its own, in a home of its own.  It ends
with exit code 1, without a traceback, and leaves nothing behind that is half done.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from support.programs import KEY, KIRO_AUTH, Home, Services, Simulator

pytestmark = pytest.mark.timeout(180)

ROOT: Final = Path(__file__).parents[2]
START_URL: Final = "https://d-1234567890.awsapps.com/start"
SIGN_IN: Final = ("login", "--builder-id", "--browser")


class Said(NamedTuple):
    """How a command ended."""

    code: int
    text: str


@pytest.fixture
def simulator(home: Home, services: Services) -> Simulator:
    """Services where nobody confirms anything by himself."""
    return services.begin(home, auto_approve=False)


def said(home: Home, *words: str, stdin: str = "", before: tuple[str, ...] = ()) -> Said:
    """What the command says, in one line."""
    done = subprocess.run(
        [*before, *KIRO_AUTH, *words], env=home.environment, input=stdin, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    return Said(done.returncode, " ".join((done.stdout + done.stderr).split()))


# ----------------------------------------------------------------------------------- the mistakes


def wrong_start_url(home: Home, _: Simulator) -> Said:
    wrong = START_URL.replace("1234567890", "0000000000")
    return said(home, "login", "--start-url", wrong, "--region", "eu-north-1")


def text_for_a_start_url(home: Home, _: Simulator) -> Said:
    return said(home, "login", "--start-url", "ada@example.com", "--region", "eu-north-1")


def wrong_region(home: Home, _: Simulator) -> Said:
    return said(home, "login", "--start-url", START_URL, "--region", "eu-north1")


def region_that_does_not_exist(home: Home, _: Simulator) -> Said:
    """Nothing answers there, as there is no such host."""
    home.environment.pop("KIRO_ENDPOINT_OIDC")
    return said(home, "login", "--start-url", START_URL, "--region", "eu-nort-1")


def region_where_kiro_takes_no_keys(home: Home, _: Simulator) -> Said:
    return said(home, "login", "--api-key", "--region", "eu-west-1", stdin="ksk_simulated_ada_0001\n")


def port_in_use(home: Home, _: Simulator) -> Said:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.environment["PORT_IN_USE"] = port = str(taken.getsockname()[1])
        return said(home, "serve", "--port", port)


def every_port_of_the_page_in_use(home: Home, simulator: Simulator) -> Said:
    """The sign-in goes on all the same, so it is ended by a refusal."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.environment["PORT_IN_USE"] = port = str(taken.getsockname()[1])
        home.environment |= {"KIRO_AUTH_SERVER_PORT_START": port, "KIRO_AUTH_SERVER_PORT_RANGE": "1"}
        return declined(home, simulator)


def wrong_key(home: Home, _: Simulator) -> Said:
    return said(home, "login", "--api-key", stdin="ksk_of_nobody_0001\n")


def text_for_a_key(home: Home, _: Simulator) -> Said:
    home.environment["KIRO_API_KEY"] = "nonsense"
    return said(home, "models")


def wrong_key_of_the_gateway(home: Home, _: Simulator) -> Said:
    with home.gateway() as address:
        host, _, port = address.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/v1/models", headers={"x-api-key": f"not {KEY}"})
            answer = connection.getresponse()
            return Said(int(answer.status == 401), answer.read().decode())


def broken_options(home: Home, _: Simulator) -> Said:
    home.config.mkdir(parents=True)
    (home.config / "kiro.json").write_text('{\n  "toast_level": "all",,\n}\n')
    return said(home, "config", "check")


def no_network(home: Home, _: Simulator) -> Said:
    """Without the simulator: the services' own names, which cannot be found where there is no network."""
    for name in list(home.environment):
        if name.startswith("KIRO_ENDPOINT_"):
            del home.environment[name]
    home.environment["KIRO_ENDPOINT_OIDC"] = "https://oidc.{region}.amazonaws.invalid"
    return said(home, "login", "--builder-id")


def nothing_listens(home: Home, _: Simulator) -> Said:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    home.environment["KIRO_ENDPOINT_OIDC"] = f"http://127.0.0.1:{port}/{{region}}"
    return said(home, "login", "--builder-id")


def expired(home: Home, simulator: Simulator) -> Said:
    simulator.ask("settings", {"deviceSeconds": 1})
    return said(home, *SIGN_IN)


def declined(home: Home, simulator: Simulator) -> Said:
    process = subprocess.Popen(
        [*KIRO_AUTH, *SIGN_IN],
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        code = None
        while code is None:
            code = re.search(r"^  ([A-Z]{4}-[A-Z]{4})$", process.stdout.readline())
        simulator.ask("deny", {"userCode": code[1]})
        text = process.stdout.read() + process.stderr.read()
        return Said(process.wait(30), " ".join(text.split()))


def two_plugins(home: Home, _: Simulator) -> Said:
    said(home, "install", "opencode")
    (home.config / "opencode.json").write_text('{"plugin": ["@zhafron/opencode-kiro-auth"]}')
    return said(home, "doctor")


def other_environment(home: Home, _: Simulator) -> Said:
    with home.started("serve") as process:
        assert process.stdout is not None
        process.stdout.readline()
        home.environment["KIRO_ACCOUNT_SELECTION_STRATEGY"] = "sticky"
        status = said(home, "status")
        return Said(int(status.code == 0), status.text)


def read_only_home(home: Home, _: Simulator) -> Said:
    """Root may write everywhere; without this capability it may not."""
    drop = "-dac_override,-dac_read_search"
    as_others = ("setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}") if os.geteuid() == 0 else ()
    home.folder.chmod(0o555)
    try:
        return said(home, *SIGN_IN, before=as_others)
    finally:
        home.folder.chmod(0o755)


MISTAKES: Final = {
    wrong_start_url: "d-0000000000.awsapps.com/start is unknown in region eu-north-1 … Check both; --region",
    text_for_a_start_url: "ada@example.com is no start URL … It looks like https://d-1234567890.awsapps.com/",
    wrong_region: "'eu-north1' is not an AWS region … Did you mean … eu-north-1 (Stockholm)",
    region_that_does_not_exist: "oidc.eu-nort-1.amazonaws.com … Did you mean eu-north-1 (Stockholm)",
    region_where_kiro_takes_no_keys: "The key does not work in eu-west-1 (Ireland) … Leave out --region",
    port_in_use: "port {PORT_IN_USE} cannot be used … Choose another port with --port",
    every_port_of_the_page_in_use: "no port from {PORT_IN_USE} to … auth_server_port_start in kiro.json",
    wrong_key: "Kiro does not accept the API key … Make a new one at https://app.kiro.dev … login --api-key",
    text_for_a_key: "KIRO_API_KEY holds no Kiro API key … must begin with ksk_ … unset KIRO_API_KEY",
    wrong_key_of_the_gateway: "The gateway's key is wrong … x-api-key … kiro-auth",
    broken_options: "kiro.json is not JSON: see line 2, column 25 … Correct … its options are not used",
    no_network: "oidc.us-east-1.amazonaws.invalid cannot be found … offline … Check the network",
    nothing_listens: "127.0.0.1 refuses the connection … Check the network, the proxy",
    expired: "The code has expired … here is a new one … has expired … Run kiro-auth login once more",
    declined: "was declined on AWS's page … ask your administrator … kiro-auth login",
    two_plugins: "loads @zhafron/opencode-kiro-auth as well … kiro-auth install opencode takes it out",
    other_environment: "goes by other options than kiro.json and the KIRO_ variables … kiro-auth stop",
    read_only_home: "{HOME}/.local/state/kiro-auth … you have no permission … owner, its mode",
}
"""What each message says, in this order; between the parts of it may stand more."""


@pytest.mark.parametrize(
    ("mistake", "words"), [pytest.param(*row, id=row[0].__name__) for row in MISTAKES.items()]
)
def test_it_is_named_with_its_remedy_and_leaves_nothing_half_done(
    home: Home, simulator: Simulator, mistake: Callable[[Home, Simulator], Said], words: str
) -> None:
    end = mistake(home, simulator)

    parts = words.format_map(home.environment).split(" … ")
    assert re.search(".*".join(map(re.escape, parts)), end.text), end.text
    assert "Traceback" not in end.text
    assert end.code == 1
    assert list(home.folder.rglob("kiro-accounts.json")) == []
    assert [path.name for path in home.folder.rglob("*.tmp*")] == []


# -------------------------------------------------------------------------------------- old Python


def old_pythons() -> Iterator[str]:
    """Every Python of this machine that is too old."""
    names = ["python3.10", "python3.9", "python3.8"]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [Path(path) for name in names if (path := shutil.which(name)) and "/shims/" not in path]
    places += [place for name in names for place in versions.glob(f"{name[6:]}.*/bin/{name}")]
    yield from map(str, places)


STAND_IN: Final = (
    "import runpy, sys; sys.version_info = (3, 9, 18, 'final', 0); "
    "runpy.run_module('kiro_auth', {}, '__main__')"
)
"""For machines that have none: this Python, which says of itself that it is older."""


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-c", STAND_IN], id="stand-in"),
        *(pytest.param([python, "-m", "kiro_auth"], id=Path(python).name) for python in old_pythons()),
    ],
)
def test_an_old_python_is_named_with_what_is_needed(home: Home, command: list[str]) -> None:
    environment = home.environment | {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, "login"], env=environment, capture_output=True, text=True, timeout=240)

    assert done.returncode == 1
    assert done.stdout == ""
    assert re.match(r"error: kiro-auth needs Python 3\.11 or newer; this is 3\.\d+, at /", done.stderr)
    assert "python3.12 -m kiro_auth" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not home.config.exists()


@pytest.mark.real
@pytest.mark.clients
def test_pip_of_an_old_python_refuses_the_package_with_what_is_needed(home: Home, tmp_path: Path) -> None:
    python = next(old_pythons(), None)
    if python is None:
        assert not os.environ.get("CI"), "no old Python here"
        pytest.skip("no Python is installed that is too old")
    environment = tmp_path / "old"
    subprocess.run([python, "-m", "venv", environment], check=True, timeout=240)
    done = subprocess.run(
        [environment / "bin" / "pip", "install", "--no-deps", ROOT],
        capture_output=True,
        text=True,
        timeout=500,
    )

    assert done.returncode == 1
    assert re.search(r"requires a different Python: 3\.\d+\.\d+ not in '>=3\.11'", done.stderr), done.stderr
    assert not (environment / "bin" / "kiro-auth").exists()
