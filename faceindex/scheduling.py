"""Units that run the indexing of an archive every night, to be printed and put where a system looks for them."""

import shlex
import sys
from collections.abc import Sequence
from os import fspath
from pathlib import Path
from typing import Any

KINDS = ("systemd", "cron", "kubernetes")

AT_HOUR = 3
"""Of the night, when nobody adds photos and the day's backups are done."""


WELL = (3, 4, 75)
"""Exit codes other than 0 of a night that is done: photos could not be read, no photo yet, another run is at it."""

CONTAINER_MEMORY = "4Gi"
"""Decoded photos and the building of the index take 2 GiB, the networks and libraries about 1."""


def unit(kind: str, catalog: str, photos: Sequence[str], scheduler: str | None = None) -> str:
    """Return a text that runs `faceindex index` and `faceindex cluster` each night.

    Two runs cannot meet: the second one ends at once with exit code 75.

    Args:
        kind: of KINDS.
        catalog: absolute path or URL.
        photos: absolute paths or URLs.
        scheduler: address of a Dask cluster.
    """
    index = ["index", *photos, "-c", catalog, *(["--scheduler", scheduler] if scheduler else [])]
    cluster = ["cluster", "-c", catalog]
    if kind == "systemd":
        return _systemd(index, cluster, catalog)
    return _cron(index, cluster) if kind == "cron" else _kubernetes(index, cluster, catalog, photos)


def _program() -> str:
    """Return the command of this installation, which a bare system need not have on its path."""
    beside = Path(sys.executable).with_name("faceindex")
    return fspath(beside) if beside.exists() else "faceindex"


def _systemd(index: Sequence[str], cluster: Sequence[str], catalog: str) -> str:
    writable = f"ReadWritePaths={_systemd_word(catalog)}\n" if catalog.startswith("/") else ""
    lines = [" ".join(map(_systemd_word, (_program(), *words))) for words in (index, cluster)]
    return f"""\
# ~/.config/systemd/user/faceindex.service
[Unit]
Description=Index and cluster the faces of new photos
[Service]
Type=oneshot
# 3: done, but some photos could not be read. 4: no photo yet. 75: another run is at it.
SuccessExitStatus={" ".join(map(str, WELL))}
ExecStart={lines[0]}
ExecStart={lines[1]}
Nice=10
IOSchedulingClass=idle
# A run that is stopped finishes its batches, and the next one goes on.
TimeoutStopSec=120
NoNewPrivileges=yes
ProtectSystem=strict
{writable}CacheDirectory=faceindex
PrivateTmp=yes
UMask=0077

# ~/.config/systemd/user/faceindex.timer
[Unit]
Description=Every night
[Timer]
OnCalendar=*-*-* {AT_HOUR:02}:00:00
RandomizedDelaySec=15min
Persistent=true
[Install]
WantedBy=timers.target

# then: systemctl --user daemon-reload && systemctl --user enable --now faceindex.timer
"""


def _systemd_word(word: str) -> str:
    """Quote a word of a unit: % begins a specifier there and $ a variable (systemd.service(5))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t'\"\\;") else escaped


def _cron(index: Sequence[str], cluster: Sequence[str]) -> str:
    """Return a line of a crontab, in which an unescaped % would begin the command's input (crontab(5))."""
    commands = [shlex.join([_program(), *words]) for words in (index, cluster)]
    return f"0 {AT_HOUR} * * * {'; '.join(commands)}\n".replace("%", "\\%")


def shell_night(index: Sequence[str], cluster: Sequence[str]) -> str:
    """Return a night as a command of a shell, which waits for a run that SIGTERM stops, so that it keeps its batches.

    The signal must reach the whole process group (tini -g).
    """
    check = f"check() {{ case $1 in 0|{'|'.join(map(str, WELL))}) ;; *) exit $1 ;; esac; }}"
    commands = [f"{shlex.join(['faceindex', *words])}; check $?" for words in (index, cluster)]
    return "; ".join(["trap : TERM", check, *commands])


def _kubernetes(index: Sequence[str], cluster: Sequence[str], catalog: str, photos: Sequence[str]) -> str:
    """Return a manifest for the image of jobs/deploy/Dockerfile; JSON is YAML, and needs no other quoting."""
    import json

    mounts: list[dict[str, Any]] = [{"name": "catalog", "mountPath": catalog}] if catalog.startswith("/") else []
    mounts += [
        {"name": f"photos-{number}", "mountPath": root, "readOnly": True}
        for number, root in enumerate(photos)
        if root.startswith("/")
    ]
    volumes = [
        {"name": mount["name"], "persistentVolumeClaim": {"claimName": f"faceindex-{mount['name']}"}}
        for mount in mounts
    ]
    container = {
        "name": "faceindex",
        "image": "faceindex:latest",
        "args": ["sh", "-c", shell_night([*index, "--log-file", "-"], cluster)],
        "resources": {
            "requests": {"cpu": "1", "memory": CONTAINER_MEMORY},
            "limits": {"memory": CONTAINER_MEMORY},
        },
        "volumeMounts": [*mounts, *({"name": name, "mountPath": f"/{name}"} for name in ("tmp", "cache"))],
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 120,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [*volumes, *({"name": name, "emptyDir": {}} for name in ("tmp", "cache"))],
    }
    labels = {"app.kubernetes.io/name": "faceindex", "app.kubernetes.io/component": "night"}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "faceindex", "labels": labels},
        "spec": {
            "schedule": f"0 {AT_HOUR} * * *",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "jobTemplate": {
                "spec": {"backoffLimit": 2, "template": {"metadata": {"labels": labels}, "spec": pod}},
            },
        },
    }
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
