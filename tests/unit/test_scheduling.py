"""Units for the night: whatever paths are called, the command that runs is the one that was meant."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from faceindex.cli.main import cli
from faceindex.scheduling import KINDS, shell_night, unit

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
    # A function stands in the program's place and prints each word, ended by a line.
    shown = "shown() { for word; do printf '%s\\n' \"$word\"; done; echo; }"
    script = shown + "\n" + re.sub(r"(^|; )[^ ;]*faceindex (?=index|cluster)", r"\1shown ", command)
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

    assert container["args"][:2] == ["sh", "-c"]
    assert seen_by_sh(container["args"][2]) == [[*INDEX, "--log-file", "-"], CLUSTER]
    assert manifest["spec"]["concurrencyPolicy"] == "Forbid"
    assert pod["securityContext"]["runAsNonRoot"] is True
    paths = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert paths == {CATALOG: False, PHOTOS[0]: True, PHOTOS[1]: True, "/tmp": False, "/cache": False}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize(
    ("index", "cluster", "code", "calls"),
    [(0, 0, 0, 2), (3, 0, 0, 2), (4, 4, 0, 2), (75, 0, 0, 2), (1, 0, 1, 1), (143, 0, 143, 1), (0, 5, 5, 2)],
)
def test_a_night_in_a_container_ends_well_when_photos_are_quarantined_and_fails_when_a_run_fails(
    index: int, cluster: int, code: int, calls: int
) -> None:
    program = f"faceindex() {{ echo; [ $1 = index ] && return {index}; return {cluster}; }}"
    done = subprocess.run(
        ["sh", "-c", f"{program}\n{shell_night(INDEX, CLUSTER)}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stdout)) == (code, calls)


def test_a_night_in_a_container_waits_for_the_run_that_sigterm_stops() -> None:
    run = "import signal; signal.pthread_sigmask(0, [15]); print('runs', flush=True); signal.sigwait([15]); exit(143)"
    script = f'faceindex() {{ {sys.executable} -c "{run}"; echo kept; return 143; }}\n{shell_night(INDEX, CLUSTER)}'
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True) as night:
        assert night.stdout is not None
        assert night.stdout.readline() == "runs\n"
        os.killpg(night.pid, signal.SIGTERM)  # as tini -g does
        assert night.stdout.read() == "kept\n"
    assert night.returncode == 143


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_absolute_paths(kind: str) -> None:
    done = CliRunner().invoke(cli, ["schedule", "photos", "--print", kind, "-c", "catalog"])

    assert done.exit_code == 0
    assert "/photos" in done.stdout
    assert " photos" not in done.stdout.replace("new photos", "").replace("some photos", "")
