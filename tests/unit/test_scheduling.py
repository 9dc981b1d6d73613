"""Units for the night: whatever paths are called, the command that runs is the one that was meant."""

import json
import shlex
import subprocess

import pytest
import yaml
from click.testing import CliRunner

from faceindex.cli.main import cli
from faceindex.scheduling import KINDS, unit

CATALOG = "/data/my faces"
PHOTOS = ['/photos/100% "ours" & it\'s $HOME', "/p\\q;r", "s3://bucket/press"]
INDEX = ["index", *PHOTOS, "-c", CATALOG]
CLUSTER = ["cluster", "-c", CATALOG]


def seen_by_systemd(line: str) -> list[str]:
    """Return the words of a command of a unit, as systemd.service(5) reads them."""
    words = shlex.split(line.removeprefix("ExecStart="))
    return [word.replace("%%", "%").replace("$$", "$") for word in words][1:]


def seen_by_sh(command: str) -> list[list[str]]:
    """Return the words of each call of the program, as a shell passes them on."""
    program = shlex.split(command)[0]
    # A function stands in the program's place and prints each word, ended by a line.
    script = f"shown() {{ for word; do printf '%s\\n' \"$word\"; done; echo; }}\n{command.replace(program, 'shown')}"
    printed = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    return [call.split("\n") for call in printed.strip("\n").split("\n\n")]


def test_systemd_runs_what_was_meant() -> None:
    lines = [line for line in unit("systemd", CATALOG, PHOTOS).splitlines() if line.startswith("ExecStart=")]

    assert [seen_by_systemd(line) for line in lines] == [INDEX, CLUSTER]


def test_cron_runs_what_was_meant() -> None:
    [line] = unit("cron", CATALOG, PHOTOS).splitlines()
    *times, command = line.split(" ", 5)

    assert len(times) == 5
    assert "%" not in command.replace("\\%", "")
    assert seen_by_sh(command.replace("\\%", "%")) == [INDEX, CLUSTER]


def test_kubernetes_runs_what_was_meant_on_volumes_of_their_own_and_never_twice_at_once() -> None:
    manifest = yaml.safe_load(unit("kubernetes", CATALOG, PHOTOS))
    assert manifest == json.loads(unit("kubernetes", CATALOG, PHOTOS))
    pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]

    assert seen_by_sh(container["command"][2]) == [INDEX, CLUSTER]
    assert manifest["spec"]["concurrencyPolicy"] == "Forbid"
    assert pod["securityContext"]["runAsNonRoot"] is True
    paths = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert paths == {CATALOG: False, PHOTOS[0]: True, PHOTOS[1]: True, "/tmp": False}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_absolute_paths(kind: str) -> None:
    done = CliRunner().invoke(cli, ["schedule", "photos", "--print", kind, "-c", "catalog"])

    assert done.exit_code == 0
    assert "/photos" in done.stdout
    assert " photos" not in done.stdout.replace("new photos", "").replace("some photos", "")
