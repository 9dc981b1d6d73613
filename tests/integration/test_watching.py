"""What a run tells programs: metrics for Prometheus and a log of its events, on real photographs."""

import base64
import json
import math
import re
import socket
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.parquet import read_table
from faceindex.cli.main import cli
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.pipeline.watching import Watching, watched
from tests.support.archives import ROOT, faceindex, make_archive

Figures = dict[tuple[str, str], float]


def figures(text: str) -> Figures:
    """Return every sample by its name and its label other than the catalog, as Prometheus reads them."""
    return {
        (sample.name, ",".join(value for label, value in sample.labels.items() if label != "catalog")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def by(found: Figures, name: str) -> dict[str, float]:
    return {label: value for (sample, label), value in found.items() if sample == name and value}


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def index(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["index", *map(str, arguments), "--workers", "0", "--json"])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("archive") / "photos", 4)


@pytest.fixture(scope="module")
def watched_run(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with the metrics, the log and the catalog of a run, and its report; not to be changed."""
    folder = tmp_path_factory.mktemp("watched")
    done = index(archive, "-c", folder / "c", "--metrics", folder / "run.prom", "--log-file", folder / "log")
    assert done.exit_code == 3, done.output
    return folder, json.loads(done.stdout)


def test_the_figures_of_the_file_are_those_of_the_report(watched_run: tuple[Path, dict[str, Any]]) -> None:
    folder, report = watched_run
    found = figures((folder / "run.prom").read_text())

    assert by(found, "faceindex_catalog_photos") == by(found, "faceindex_run_photos") == report["photos"]
    assert found["faceindex_run_quarantined_photos", ""] == len(report["quarantined"]) == 2
    assert found["faceindex_run_faces", ""] == found["faceindex_catalog_faces", ""] == report["faces"]
    assert found["faceindex_catalog_generation", ""] == report["generation"]
    assert by(found, "faceindex_run_changes") == {name: count for name, count in report["changes"].items() if count}
    assert math.isclose(found["faceindex_run_photos_per_second", ""], report["photos_per_second"], abs_tol=0.01)
    for stage, seconds in report["stage_seconds"].items():
        assert math.isclose(found["faceindex_run_stage_seconds", stage], seconds, abs_tol=0.001)
    assert (found["faceindex_run_success", ""], found["faceindex_run_exit_code", "quarantined"]) == (1, 3)
    start, end = (found[f"faceindex_run_{name}_timestamp_seconds", ""] for name in ("start", "end"))
    assert math.isclose(found["faceindex_run_duration_seconds", ""], end - start, abs_tol=0.01)
    assert report["seconds"] <= end - start + 0.01


def test_names_of_metrics_are_those_that_promtool_accepts(watched_run: tuple[Path, dict[str, Any]]) -> None:
    families = list(text_string_to_metric_families((watched_run[0] / "run.prom").read_text()))
    for family in families:
        assert re.fullmatch(r"faceindex_(run|catalog)_[a-z_]+", family.name)
        assert family.type == "gauge"
        assert family.documentation
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms"))
    assert len({family.name for family in families}) == len(families)


def test_the_metrics_that_are_documented_are_those_there_are(watched_run: tuple[Path, dict[str, Any]]) -> None:
    guide = (ROOT / "jobs" / "README.md").read_text()
    families = {family.name for family in text_string_to_metric_families((watched_run[0] / "run.prom").read_text())}
    assert set(re.findall(r"^\| `(faceindex_\w+)", guide, re.MULTILINE)) == families
    [rules] = re.findall(r"```yaml\n(groups:.*?)```", guide, re.DOTALL)
    alerts = yaml.safe_load(rules)["groups"][0]["rules"]
    assert len(alerts) == 2
    for alert in alerts:
        assert set(re.findall(r"faceindex_\w+", alert["expr"])) <= families


def test_every_line_of_the_log_is_an_event_of_the_run_from_its_start_to_its_end(
    watched_run: tuple[Path, dict[str, Any]],
) -> None:
    folder, report = watched_run
    lines = events((folder / "log").read_text())

    told = [line["event"] for line in lines]
    assert told[0] == "run_started"
    assert told[-1] == "run_ended"
    counted = Counter(told)
    assert counted == Counter(
        run_started=1, crawling=1, planned=1, batch_committed=1, photo_quarantined=2, published=1, run_ended=1
    )
    assert {line["run"] for line in lines} == {report["run"]}
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    quarantined = [line for line in lines if line["event"] == "photo_quarantined"]
    told_of = [{name: line[name] for name in ("photo", "state", "detail")} for line in quarantined]
    assert told_of == report["quarantined"]
    assert all(re.fullmatch(r"[0-9a-f]{32}", line["photo_id"]) for line in quarantined)
    assert lines[-1]["exit_code"] == 3


def test_no_embedding_and_no_picture_is_in_what_is_told(watched_run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = watched_run
    told = (folder / "log").read_bytes() + (folder / "run.prom").read_bytes()
    catalog = Catalog.open(str(folder / "c"))
    served = catalog.current()
    assert served is not None
    secrets = []
    for batch in served.batches.values():
        secrets += read_table(catalog.files, batch.faces)["embedding"].to_pylist()
        assert batch.crops is not None
        secrets += [crop[-64:] for crop in read_table(catalog.files, batch.crops)["jpeg"].to_pylist()]
    assert secrets
    for secret in secrets:
        for shown in (secret, secret.hex().encode(), base64.b64encode(secret)[:24]):
            assert shown not in told
    assert max(map(len, told.splitlines())) < 5000


def test_a_run_that_fails_says_so_and_keeps_when_the_last_one_ended_well(archive: Path, tmp_path: Path) -> None:
    asked = ("-c", tmp_path / "c", "--metrics", tmp_path / "run.prom", "--log-file", tmp_path / "log")
    index(archive, *asked)
    before = figures((tmp_path / "run.prom").read_text())
    (tmp_path / "c" / "CURRENT").write_text("damaged")

    done = index(archive, *asked)

    found = figures((tmp_path / "run.prom").read_text())
    assert done.exit_code == 5
    assert (found["faceindex_run_success", ""], found["faceindex_run_exit_code", "damaged"]) == (0, 5)
    last = "faceindex_run_last_success_timestamp_seconds", ""
    assert found[last] == before[last]
    assert found["faceindex_run_start_timestamp_seconds", ""] > before["faceindex_run_end_timestamp_seconds", ""]
    ended = events((tmp_path / "log").read_text())[-1]
    assert (ended["event"], ended["level"], ended["exit_code"]) == ("run_ended", "error", 5)
    assert ended["message"] in done.stderr


def test_the_port_answers_on_loopback_alone_and_while_the_run_lasts(archive: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen: dict[str, Figures] = {}
    listening: set[str] = set()

    def progress(phase: str, *_: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            seen[phase] = figures(answer.read().decode())
        listening.update(
            one.laddr.ip
            for one in psutil.Process().net_connections("inet")
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port
        )

    report = RunReport.of(str(tmp_path / "c"))
    with watched(report, Watching(metrics_port=port), progress) as told:
        index_photos(str(tmp_path / "c"), [str(archive)], IndexOptions(workers=0), told, report)

    assert listening == {"127.0.0.1"}
    assert by(seen["starting workers"], "faceindex_run_photos") == {}
    assert seen["starting workers"]["faceindex_run_planned_photos", ""] == 7
    assert by(seen["finding faces"], "faceindex_run_photos") == {
        "ok": 4,
        "no_face": 1,
        "truncated": 1,
        "unsupported": 1,
    }
    assert ("faceindex_run_success", "") not in seen["finding faces"]
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_a_file_or_a_port_that_cannot_be_had_stops_the_run_before_it_begins(archive: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for option, value, wanted in (
            ("--metrics-port", taken.getsockname()[1], "cannot show metrics on port"),
            ("--metrics", tmp_path / "nowhere" / "run.prom", "cannot write the metrics"),
            ("--log-file", tmp_path / "nowhere" / "log", "cannot write the log"),
        ):
            done = index(archive, "-c", tmp_path / "c", option, value)
            assert (done.exit_code, done.stdout) in ((1, ""), (2, ""))
            assert done.stderr.startswith(f"faceindex: {wanted}")
            assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "c").exists()


def test_a_log_on_stderr_is_all_there_is_and_what_workers_say_is_in_it(archive: Path, tmp_path: Path) -> None:
    done = faceindex("index", archive, "-c", tmp_path / "c", "--workers", 2, "--log-file", "-", "--json")
    lines = events(done.stderr)
    again = faceindex("index", tmp_path / "nowhere", "-c", tmp_path / "c", "--log-file", "-")

    assert json.loads(done.stdout)["run"] == lines[0]["run"]
    assert done.returncode == 3
    [ready] = [line for line in lines if line["event"] == "worker_ready"]
    assert ready["worker"].startswith("tcp://127.0.0.1:")
    assert again.returncode == events(again.stderr)[-1]["exit_code"] == 2
