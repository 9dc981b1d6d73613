"""What jobs/deploy/ ships is whole: commands that exist, and nothing that runs with more than it needs."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import rich_click as click
import yaml
from distributed.cli import dask_scheduler, dask_worker

from faceindex.cli.main import cli
from faceindex.scheduling import shell_night, unit
from tests.support.archives import ROOT

DEPLOY = ROOT / "jobs" / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
SCHEDULER = "tcp://faceindex-scheduler:8786"


def manifests(kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in MANIFESTS if manifest["kind"] == kind]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests("Deployment"):
        yield manifest["metadata"]["name"], manifest["spec"]["template"]
    for manifest in manifests("CronJob"):
        yield manifest["metadata"]["name"], manifest["spec"]["jobTemplate"]["spec"]["template"]


def commands() -> Iterator[list[str]]:
    """Yield the words of every command of ours in these files, comments and shell lines included."""
    for words in [service["command"] for service in COMPOSE["services"].values()] + [
        pod["spec"]["containers"][0]["args"] for _, pod in pods()
    ]:
        if words[:2] == ["sh", "-c"]:
            for part in words[2].split("; "):
                if part.startswith("faceindex "):
                    yield shlex.split(part)
        else:
            yield words
    for text in (DOCKERFILE, *((DEPLOY / name).read_text() for name in ("compose.yaml", "kubernetes.yaml"))):
        for line in re.findall(r"^#\s+(faceindex .*)$", text, re.MULTILINE):
            yield shlex.split(line)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_is_understood(words: list[str]) -> None:
    entry: click.Command = {
        "faceindex": cli,
        "dask scheduler": dask_scheduler.main,
        "dask worker": dask_worker.main,
    }[words[0] if words[0] == "faceindex" else " ".join(words[:2])]
    rest = words[1:] if words[0] == "faceindex" else words[2:]
    if isinstance(entry, click.Group):
        context = click.Context(entry)
        name, found, rest = entry.resolve_command(context, rest)
        assert name is not None
        assert found is not None
        entry = found
    entry.make_context("command", list(rest), resilient_parsing=False)


def test_the_cron_job_is_what_the_command_prints() -> None:
    [job] = manifests("CronJob")
    assert job == yaml.safe_load(unit("kubernetes", "/catalog", ["/photos"], SCHEDULER))
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_night_of_compose_is_that_of_kubernetes_in_one_container() -> None:
    index = ["index", "/photos", "-c", "/catalog", "--log-file", "-"]
    [_, _, script] = COMPOSE["services"]["night"]["command"]
    assert script.replace("$$", "$") == shell_night(index, ["cluster", "-c", "/catalog"])


@pytest.mark.parametrize(("name", "pod"), list(pods()), ids=lambda one: one if isinstance(one, str) else "")
def test_no_pod_has_more_than_it_needs(name: str, pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"].keys() == {"requests", "limits"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["mountPath"] == "/photos")
    [policy] = manifests("NetworkPolicy")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_claims_and_the_scheduler_that_are_named_are_there() -> None:
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for _, pod in pods()
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {manifest["metadata"]["name"] for manifest in manifests("PersistentVolumeClaim")}
    [service] = manifests("Service")
    assert f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}" == SCHEDULER
    labels = [pod["metadata"]["labels"] for name, pod in pods() if name == "faceindex-scheduler"]
    assert labels == [service["spec"]["selector"]]


def test_no_container_of_compose_has_more_than_it_needs_or_is_reached_from_outside() -> None:
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert [entry.split(":")[0] for entry in service["tmpfs"]] == ["/tmp"]
        assert "ports" not in service
        assert service["user"]
    assert COMPOSE["services"]["night"]["network_mode"] == "none"
    assert any(volume.endswith("/photos:ro") for volume in COMPOSE["services"]["label"]["volumes"])


def test_the_image_runs_as_nobody_special_and_hands_signals_on() -> None:
    stages = DOCKERFILE.split("\nFROM ")
    assert re.search(r"^USER 10001:10001$", stages[-1], re.MULTILINE)
    assert 'ENTRYPOINT ["tini", "-g", "--"]' in stages[-1]
    written = dict(re.findall(r"(\w+)=(/\S*)", stages[-1].split("ENV ", 1)[1].split("\nUSER")[0]))
    for variable in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "DASK_TEMPORARY_DIRECTORY"):
        assert written[variable].startswith(("/tmp", "/cache"))
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in sent
