"""Serves a network over HTTP: an address for programs, and a page on which people drop pictures."""

import contextlib
import ipaddress
import os
import socket
from pathlib import Path

from thaw.common.console import printable, say
from thaw.common.errors import UserError
from thaw.common.hardware import cpu_count, detect_processor
from thaw.config.tool_schemas import ServeConfig
from thaw.frozen import engine
from thaw.results import trained_classifier
from thaw.serve.serve_packages import check_packages_are_installed

DRAIN_MARGIN_SECONDS = 5.0  # for answers to be sent, after the time that they may take


def serve(config: ServeConfig) -> None:
    """Serve until SIGINT or SIGTERM; what was begun is finished, and the exit code is 0.

    Raises:
        UserError: a package or the network is missing, the address cannot be had, or keys contradict each other.
    """
    check_serve_config(config)
    check_packages_are_installed()
    engine.check_engine(config.engine, config.precision, "auto", detect_processor())
    from thaw.serve import http_server  # late: its packages may be missing

    # Before the network is loaded, which takes seconds, and a taken port none.
    with contextlib.closing(http_server.bind(config.host, config.port)) as bound:
        _serve_on(bound, config)


def _serve_on(bound: socket.socket, config: ServeConfig) -> None:
    from thaw.serve import http_server, served_network
    from thaw.serve.http_app import Access
    from thaw.serve.http_service import Batching, HttpService
    from thaw.serve.serve_limits import Limits

    outputs = Path(config.outputs)
    classifier = trained_classifier.load_classifier(config.model, config.backbone, outputs, config.tracking_uri)
    model = served_network.served_model(
        classifier, config.model, config.backbone, config.engine, config.precision, config.bits
    )
    sizes = round(1e6 * config.max_mb), round(1e6 * config.buffer_mb)
    limits = Limits(*sizes, config.max_images, config.read_seconds, config.answer_seconds)
    batching = Batching(config.max_batch, config.wait_ms / 1000, config.queue, config.decode_threads or cpu_count())
    hosts = hosts_that_may_call(config.allowed_hosts, bound)
    service = HttpService(model, limits, batching, Access(hosts, tuple(config.allowed_origins)), config.top)

    def announce() -> None:
        facts = model.facts or {}
        say(f"model {model.name} · {len(model.class_names):,} classes · {facts['engine']} in {facts['precision']}")
        if not is_loopback(bound):
            say("note: there is no password: whoever reaches this machine's port can use the server")
        say(f"serving on {http_server.address(bound)} · its page, /docs for programs · Ctrl-C ends it")

    def stop() -> None:
        service.drain()
        # Not print: a handler may run while another line is being written.
        os.write(2, b"stopping when the requests that were begun are answered; once more stops at once\n")

    drain_seconds = config.answer_seconds + DRAIN_MARGIN_SECONDS
    server = http_server.build_server(service.app, drain_seconds, announce, stop)
    http_server.run_until_signal(server, bound)
    service.close()


def check_serve_config(config: ServeConfig) -> None:
    """Raise UserError when limits contradict each other."""
    if config.max_images > config.queue:
        raise UserError(
            f"max_images={config.max_images} is more than queue={config.queue}: such a request would never be taken. "
            "Raise queue, or lower max_images"
        )
    if config.max_mb > config.buffer_mb:
        raise UserError(
            f"max_mb={config.max_mb:g} is more than buffer_mb={config.buffer_mb:g}, which holds all requests. Raise "
            "buffer_mb, or lower max_mb"
        )
    for host in config.allowed_hosts or ():
        if "/" in host or not host.strip() or "*" in host[1:]:
            raise UserError(f"allowed_hosts={printable(host)}: give names such as example.org or *.example.org")
    for origin in config.allowed_origins:
        if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
            raise UserError(f"allowed_origins={printable(origin)}: give a page's scheme and host, https://example.org")


def hosts_that_may_call(allowed: list[str] | None, bound: socket.socket) -> tuple[str, ...]:
    """Return the names by which the server may be called; none: any. This machine's own are always among them.

    A web page whose name is turned to this machine's address (DNS rebinding) calls the server by the page's name.
    """
    from thaw.serve.request_guard import LOOPBACK_HOSTS

    if allowed is None and not is_loopback(bound):
        return ()
    return (*(allowed or ()), *LOOPBACK_HOSTS)


def is_loopback(bound: socket.socket) -> bool:
    """Return whether only this machine reaches a bound socket."""
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback
