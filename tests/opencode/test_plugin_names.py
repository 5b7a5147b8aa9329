"""Which names are those of Kiro plugins, and which only have the word in them."""

from __future__ import annotations

import pytest

from kiro_auth.opencode.plugin_names import is_kiro


@pytest.mark.parametrize(
    "name",
    [
        "@zhafron/opencode-kiro-auth",
        "@zhafron/opencode-kiro-auth@1.5.0",
        "opencode-kiro-auth",
        "opencode-kiro-auth@latest",
        "Opencode-Kiro-Auth",
        "opencode-kiro",
        "@somebody/opencode-kiro-plugin",
        "kiro",
        "kiro-auth",
        "./kiro.ts",
        "file:///home/ada/.config/opencode/plugin/kiro.js",
        "/src/opencode-kiro-auth/",
        "/src/opencode-kiro-auth/dist/index.js",
        "file:///home/ada/node_modules/@zhafron/opencode-kiro-auth@1.5.0/dist/src/index.js",
        "C:\\src\\opencode-kiro-auth\\index.js",
        "git+https://github.com/somebody/opencode-kiro-auth.git#main",
        "other-name@npm:@zhafron/opencode-kiro-auth@1.5.0",
    ],
)
def test_a_kiro_plugin_is_known_by_its_name(name: str):
    assert is_kiro(name)


@pytest.mark.parametrize(
    "name",
    [
        "my-kiro-theme",
        "kiro-theme",
        "opencode-kiro-theme@1.0.0",
        "@kiro/opencode-notify",
        "file:///home/kiro/mine/it.js",
        "file:///home/kiro/opencode/index.js",
        "./kiro-usage-in-the-footer.ts",
        "kirocode",
        "",
    ],
)
def test_the_word_alone_makes_no_kiro_plugin(name: str):
    assert not is_kiro(name)
