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


def unit(kind: str, catalog: str, photos: Sequence[str]) -> str:
    """Return a text that runs `faceindex index` and `faceindex cluster` each night.

    Two runs cannot meet: the second one ends at once with exit code 75.

    Args:
        kind: of KINDS.
        catalog: absolute path or URL.
        photos: absolute paths or URLs.
    """
    index = ["index", *photos, "-c", catalog]
    cluster = ["cluster", "-c", catalog]
    if kind == "systemd":
        return _systemd(index, cluster, catalog)
    return _cron(index, cluster) if kind == "cron" else _kubernetes(catalog, photos)


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
# 3: done, but some photos could not be read. 75: another run is at it. 4: no photo yet.
SuccessExitStatus=3 4 75
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


def _kubernetes(catalog: str, photos: Sequence[str]) -> str:
    """Return a manifest; JSON strings are YAML, and need no other quoting."""
    import json

    command = f"{shlex.join(['faceindex', 'index', *photos, '-c', catalog])}; code=$?; "
    command += f"{shlex.join(['faceindex', 'cluster', '-c', catalog])} && [ $code -eq 0 -o $code -eq 3 ]"
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
        "command": ["sh", "-c", command],
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - of the container
        "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
        "containers": [container],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
    }
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "faceindex"},
        "spec": {
            "schedule": f"0 {AT_HOUR} * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 2, "template": {"spec": pod}}},
        },
    }
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
