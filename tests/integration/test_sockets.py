"""What a run starts on one machine listens to that machine alone."""

import ipaddress
import socket
from urllib.parse import urlsplit

import dask
import psutil
from distributed import Client

from faceindex.pipeline.cluster import CONFIG, local_cluster


def listening() -> set[tuple[str, int]]:
    """Return the addresses at which this process and those it has started listen."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
    }


def test_the_cluster_of_a_run_and_its_dashboard_listen_on_loopback_alone() -> None:
    before = listening()

    with dask.config.set(CONFIG), local_cluster(2) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        opened = listening() - before
        dashboard = urlsplit(client.dashboard_link)

    assert len(opened) >= 6  # of the scheduler, two nannies, two workers, the dashboard
    assert {address for address, _ in opened if not ipaddress.ip_address(address).is_loopback} == set()
    assert ("127.0.0.1", dashboard.port) in opened
    assert dashboard.hostname == "127.0.0.1"
