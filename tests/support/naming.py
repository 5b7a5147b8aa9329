"""Accounts as stores may hold them: few values, so that equal ones and parts of others happen."""

from __future__ import annotations

from hypothesis import strategies as st

from kiro_auth.accounts.account import Account

LABELS = (
    None, "", "  ", "Work", "WORK", "Work 2", "Wörk", "Wo\u0308rk", "ﬁrm", "firm", "d-1234567890",
    "a***@example.com", "a***@example.com (Builder ID)", "a***@example.com (111111)", "1" * 32, "two\nlines",
    "ada@example.com", "of amy@example.com",
)  # fmt: skip
EMAILS = (
    None, "", "nobody", "ada@example.com", "amy@example.com", "ada@example.com.au", "ada@other.example",
    "builder-id@aws.amazon.com", "ada@ex\nample.com", "ådä@exämple.com",
)  # fmt: skip
URLS = (
    None,
    "",
    "https://[",
    "https://d-1234567890.awsapps.com/start",
    "https://d-12345678901.awsapps.com/start",
)

accounts = st.lists(
    st.builds(
        Account,
        id=st.sampled_from(["1" * 32, "1" * 6 + "2" * 26, "a" * 32, "abcdef" * 5 + "ab", "f" * 32]),
        label=st.sampled_from(LABELS),
        real_email=st.sampled_from(EMAILS),
        email=st.sampled_from(EMAILS),
        auth_method=st.sampled_from(["idc", "sso", "social", "api-key"]),
        sso_start_url=st.sampled_from(URLS),
        region=st.sampled_from(["us-east-1", "eu-central-1"]),
    ),
    max_size=5,
    unique_by=lambda account: account.id,
)
