"""Who may ask: API keys, names of this machine, nothing for other pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import KEY, ServedApi, read_error, serve_api
from upstream_server import UpstreamServer

from icd10cm.errors import ConfigError
from serving.api import start
from serving.api.security import HostGuard, KeyRing, load_keys
from serving.api.settings import ApiSettings

OPEN = ("/", "/healthz", "/readyz", "/openapi.json", "/v1/about")
OTHER_KEY = "another-key-4567890123"


@pytest.fixture(scope="module")
def api(upstream: UpstreamServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    keys = f"ward={KEY}, page={OTHER_KEY}"
    with serve_api(tmp_path_factory.mktemp("audit"), upstream.url, keys, requests_per_minute=40) as served:
        yield served


def send(api: ServedApi, key: str | None, path: str = "/v1/codes?query=gout") -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return api.client.get(path, headers=headers).status_code


def test_without_keys_only_this_machine_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"):
        with pytest.raises(ConfigError, match="API keys are needed"):
            load_keys(ApiSettings(host=host))
    for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        assert not load_keys(ApiSettings(host=host))
    words = ["--base-url", "http://127.0.0.1:1/v1", "--audit-file", str(tmp_path / "a.jsonl")]
    assert start.run([*words, "--host", "0.0.0.0"]) == 2
    assert "API keys are needed" in capsys.readouterr().err
    monkeypatch.setenv("ICDTUNE_API_KEYS", f"ward={KEY}")
    assert len(load_keys(ApiSettings(host="0.0.0.0"))) == 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("ward=short", "16 ASCII"),
        (f"ward={KEY},ward={OTHER_KEY}", "given twice"),
        (f"a ward={KEY}", "write NAME=KEY"),
        (f"ward={KEY},{OTHER_KEY}", "write NAME=KEY"),
        ("/no/such/file", "cannot be read"),
        (f"ward={'ä' * 20}", "16 ASCII"),
    ],
)
def test_keys_that_are_wrong_are_told_without_being_shown(value: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICDTUNE_API_KEYS", value)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_keys(ApiSettings())
    assert KEY not in str(caught.value) and OTHER_KEY not in str(caught.value) and "short" not in str(caught.value)


def test_keys_come_from_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\nward={KEY}\n\npage={OTHER_KEY}\n")
    for variable in ("ICDTUNE_API_KEYS", "ICDTUNE_API_KEYS_FILE"):
        monkeypatch.setenv(variable, str(file))
        ring = load_keys(ApiSettings())
        assert ring.find_name(f"Bearer {KEY}") == "ward" and ring.find_name(f"bearer {OTHER_KEY}") == "page"
        monkeypatch.delenv(variable)
    file.write_text("# none\n")
    monkeypatch.setenv("ICDTUNE_API_KEYS_FILE", str(file))
    with pytest.raises(ConfigError, match="holds no key"):
        load_keys(ApiSettings())


def test_only_a_whole_key_opens(api: ServedApi) -> None:
    assert send(api, KEY) == send(api, OTHER_KEY) == 200
    for wrong in (None, KEY[:-1], KEY + "x", KEY.upper(), "ward", f"ward={KEY}"):
        assert send(api, wrong) == 401
    for scheme in ("Basic", "Token"):
        assert api.client.get("/v1/codes?query=gout", headers={"Authorization": f"{scheme} {KEY}"}).status_code == 401
    refused = api.client.post("/v1/coding", json={"text": "gout"})
    assert "API key" in read_error(refused) and refused.headers["www-authenticate"] == "Bearer"


def test_all_but_a_few_paths_want_a_key(api: ServedApi) -> None:
    document = api.client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            reply = api.client.request(method, path.replace("{code}", "I10"))
            assert (reply.status_code == 401) == (path not in OPEN) == ("security" in operation), path
    assert api.client.get("/v1/nothing").status_code == 401
    assert api.client.get("/v1/about").json()["key_required"] is True


def test_the_log_names_the_key_and_never_holds_it(api: ServedApi, capfd: pytest.CaptureFixture) -> None:
    assert (
        api.client.post("/v1/coding", json={"text": "gout"}, headers={"Authorization": f"Bearer {OTHER_KEY}"}).status_code
        == 200
    )
    log = api.audit_file.read_text()
    assert json.loads(log.splitlines()[-1])["key"] == "page"
    assert KEY not in log and OTHER_KEY not in log and OTHER_KEY not in capfd.readouterr().err


def test_guessing_keys_is_slowed_down_but_not_those_who_have_one(api: ServedApi) -> None:
    statuses = [send(api, f"guess-{number}") for number in range(60)]
    assert set(statuses) == {401, 429} and statuses[-1] == 429
    assert send(api, KEY) == 200


def test_other_pages_get_no_permission(api: ServedApi) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Authorization": f"Bearer {KEY}"}
    for reply in (api.client.get("/v1/about", headers=headers), api.client.options("/v1/coding", headers=headers)):
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("127.0.0.1:8080", True), ("localhost", True), ("[::1]:80", True), ("LOCALHOST:1", True), ("evil.example", False),
     ("localhost.evil.example", False), ("127.0.0.1.evil.example:8080", False), ("", False), ("codes.example", False)],
)  # fmt: skip
def test_without_keys_only_names_of_this_machine_are_answered(host: str, allowed: bool) -> None:
    assert HostGuard(ApiSettings(), KeyRing({})).allows(host) is allowed


def test_other_names_are_answered_where_they_are_allowed_or_keys_are_wanted(tmp_path: Path, upstream: UpstreamServer) -> None:
    assert HostGuard(ApiSettings(allowed_hosts=["codes.example"]), KeyRing({})).allows("codes.example:443")
    keys = KeyRing({"ward": KEY})
    assert HostGuard(ApiSettings(), keys).allows("codes.example")
    assert not HostGuard(ApiSettings(allowed_hosts=["codes.example"]), keys).allows("evil.example")
    with serve_api(tmp_path, upstream.url) as api:
        refused = api.client.get("/healthz", headers={"Host": "evil.example"})
        assert refused.status_code == 403 and "evil" not in read_error(refused)
