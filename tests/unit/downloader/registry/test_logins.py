"""Logins where Docker and Podman keep them."""

import base64
import json
from pathlib import Path

import pytest

from oprel.downloader.registry.logins import find_login

HOST = "registry.example:5000"


def written(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def login(folder: Path, content: object, host: str = HOST, repository: str = "team/tiny") -> tuple[str, str] | None:
    file = folder / "config.json"
    file.write_text(json.dumps(content))
    found = find_login([folder / "none", file], host, repository)
    return (found.user, found.password) if found else None


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/", f"https://{HOST}/v2/"])
def test_a_login_is_read_by_each_spelling_of_the_registry(tmp_path: Path, key: str):
    assert login(tmp_path, {"auths": {key: written("me", "a:b")}}) == ("me", "a:b")


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_s_login_has_its_old_address(tmp_path: Path, host: str):
    assert login(tmp_path, {"auths": {"https://index.docker.io/v1/": written("me", "x")}}, host) == ("me", "x")


def test_an_identity_token_is_a_login_without_a_password(tmp_path: Path, helper: Path):
    (tmp_path / "config.json").write_text(json.dumps({"auths": {HOST: {**written("0", ""), "identitytoken": "long"}}}))
    found = find_login([tmp_path / "config.json"], HOST, "team/tiny")
    assert found and (found.password, found.identity) == ("", "long") and "long" not in repr(found)
    helper.write_text('#!/bin/sh\necho "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"kept\\"}"\n')
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {HOST: "ring"}}))
    kept = find_login([tmp_path / "config.json"], HOST, "team/tiny")
    assert kept and (kept.password, kept.identity) == ("", "kept")


def test_of_podman_s_logins_the_closest_namespace_counts(tmp_path: Path):
    auths = {HOST: written("all", "x"), f"{HOST}/team": written("team", "x"), f"{HOST}/team/tiny": written("tiny", "x")}
    repositories = ("team/tiny", "team/other", "others/tiny")
    assert [login(tmp_path, {"auths": auths}, repository=each) for each in repositories] == [
        ("tiny", "x"),
        ("team", "x"),
        ("all", "x"),
    ]


@pytest.mark.parametrize(
    "content",
    [[], {}, {"auths": []}, {"auths": {HOST: {}}}, {"auths": {HOST: {"auth": "%"}}}, {"auths": {HOST: {"auth": 5}}}]
    + [{"auths": {"other": written("me", "x")}}, {"credHelpers": {HOST: "../evil"}}, {"credHelpers": {HOST: "absent"}}],
)
def test_what_is_no_login_is_passed_over(tmp_path: Path, content: object):
    assert login(tmp_path, content) is None


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper in the PATH, which answers with the registry that it is asked for as the user."""
    program = tmp_path / "docker-credential-ring"
    program.write_text('#!/bin/sh\nread -r host\necho "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"$1\\"}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


@pytest.mark.parametrize(
    "content", [{"credHelpers": {HOST: "ring"}}, {"credsStore": "ring", "auths": {HOST: {}, "other": {}}}]
)
def test_a_credential_helper_is_asked(tmp_path: Path, helper: Path, content: object):
    assert login(tmp_path, content) == (HOST, "get")


@pytest.mark.parametrize("text", ["exit 1", "echo no JSON", "echo '{}'", 'echo \'{"Username": 1, "Secret": "x"}\''])
def test_a_helper_that_fails_gives_no_login(tmp_path: Path, helper: Path, text: str):
    helper.write_text(f"#!/bin/sh\n{text}\n")
    assert login(tmp_path, {"credHelpers": {HOST: "ring"}}) is None
