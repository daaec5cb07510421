"""Real requests to a started server, among them those of an attacker."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.serving.guard import AllowedHosts
from fpcn_lightning.field.serving.serve import serve
from fpcn_lightning.field.serving.uploads import PREFIX
from tests.field.conftest import paint, write_bundle
from tests.field.serving.conftest import started, started_server
from tests.field.test_model import loop, too_much_memory

MEGABYTE = 2**20
PLACE: dict[str, str | int] = {"number": 1, "total": 1, "skipped": 0, "index": 0, "name": "red.png"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the REST endpoint that takes photographs of one megabyte."""
    folder = tmp_path_factory.mktemp("server")
    with started(write_bundle(folder / "bundle"), folder / "temporary", "--api", "--max-megabytes=1") as address:
        yield address


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return paint(tmp_path_factory.mktemp("photographs") / "red.png").read_bytes()


def upload_address(server: str) -> str:
    """Where a newly opened page uploads to."""
    found = re.search(r'"url":"(/upload/[\w-]+)"', httpx.get(server).text)
    assert found
    return server + found[1]


def predicted(server: str, *files: tuple[str, bytes], headers: dict[str, str] | None = None) -> httpx.Response:
    form = [("files", file) for file in files]
    return httpx.post(f"{server}/predict", files=form, headers=headers, timeout=60)


def socket_handshake(server: str, headers: dict[str, str]) -> int:
    """The status of a websocket handshake."""
    connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
    connection.request(
        "GET",
        "/_nicegui_ws/socket.io/?EIO=4&transport=websocket",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            **headers,
        },
    )
    status = connection.getresponse().status
    connection.close()
    return status


def held_request(server: str, path: str, length: int, body: bytes = b"", headers: str = "") -> socket.socket:
    """A POST request whose body is not sent completely."""
    parts = urlsplit(server)
    assert parts.hostname
    connection = socket.create_connection((parts.hostname, parts.port or 80), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {length}\r\n{headers}\r\n"
    connection.sendall(head.encode() + body)
    return connection


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition becomes true."""
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_the_page_names_its_bundle(server: str) -> None:
    response = httpx.get(server)
    assert response.status_code == 200
    assert "<title>colours</title>" in response.text
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "user@127.0.0.1", ""])
@pytest.mark.parametrize("path", ["/", "/openapi.json", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"])
def test_another_host_is_refused(server: str, host: str, path: str) -> None:
    assert httpx.get(server + path, headers={"Host": host}).status_code in (400, 421)


def test_another_host_is_refused_for_uploads_and_sockets(server: str, red: bytes) -> None:
    address = upload_address(server)
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert httpx.post(address, params=PLACE, content=red, headers=headers).status_code == 421
    assert predicted(server, ("red.png", red), headers=headers).status_code == 421
    assert socket_handshake(server, headers) == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "file://", "http://127.0.0.1:1", "https://[::1"])
def test_another_origin_is_refused(server: str, origin: str, red: bytes) -> None:
    headers = {"Origin": origin}
    assert httpx.post(upload_address(server), params=PLACE, content=red, headers=headers).status_code == 403
    assert predicted(server, ("red.png", red), headers=headers).status_code == 403
    polling = f"{server}/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert httpx.post(polling, content="40", headers=headers).status_code == 403
    assert socket_handshake(server, headers) == 403


def test_its_own_page_may_upload_and_connect(server: str, red: bytes) -> None:
    headers = {"Origin": server}
    assert httpx.post(upload_address(server), params=PLACE, content=red, headers=headers).status_code == 204
    assert predicted(server, ("red.png", red), headers=headers).status_code == 200
    assert socket_handshake(server, headers) == 101


@pytest.mark.parametrize("target", ["/etc/passwd", __file__, "/dev/zero", "file:///etc/passwd"])
def test_no_file_of_this_computer_is_returned(server: str, target: str) -> None:
    for path in ("/upload/", "/gradio_api/file=", "/_nicegui/auto/static/", "/_nicegui/3.18.0/static/", "/"):
        for climb in ("", "../" * 12, "%2e%2e/" * 12, "..%2f" * 12):
            assert httpx.get(f"{server}{path}{climb}{quote(target)}").status_code in (403, 404)
    as_handle = httpx.post(f"{server}/upload/{quote(target, safe='')}", params=PLACE, content=b"x")
    assert as_handle.status_code in (404, 405)
    by_name = predicted(server, (target, b"no picture")).json()["predictions"][0]
    assert by_name["error"] == "this is no picture of a known format"
    as_path = {"data": {"path": target, "meta": {"_type": "gradio.FileData"}}}
    assert httpx.post(f"{server}/gradio_api/queue/join", json=as_path).status_code == 404
    assert httpx.post(f"{server}/predict", json=as_path).status_code == 400


def test_paths_that_nothing_needs_do_not_exist(server: str) -> None:
    for path in ("/docs", "/redoc", "/_nicegui/client/1/upload/2", "/monitoring", "/upload/", "/predict"):
        assert httpx.get(server + path).status_code == 404
    assert httpx.delete(f"{server}/").status_code == 404
    assert httpx.options(f"{server}/predict").status_code == 404


def test_uploads_are_bounded_one_by_one(server: str, red: bytes) -> None:
    address = upload_address(server)
    assert httpx.post(address, params=PLACE, content=bytes(2 * MEGABYTE)).status_code == 413
    assert httpx.post(address, params=PLACE, content=iter([red])).status_code == 411
    assert httpx.post(address, params=PLACE, content=red).status_code == 204
    forged = {**PLACE, "total": 10**6, "index": 10**6}
    assert httpx.post(address, params=forged, content=red).status_code == 422


def test_requests_are_bounded(server: str, red: bytes) -> None:
    connection = held_request(server, "/predict", 52 * MEGABYTE)
    assert connection.recv(12) == b"HTTP/1.1 413"
    connection.close()
    assert predicted(server, *[("red.png", red)] * 51).status_code == 400
    assert httpx.post(f"{server}/predict", files={"other": red}).status_code == 400


def test_all_uploads_are_bounded_together(server: str, red: bytes) -> None:
    form = "Content-Type: multipart/form-data; boundary=b\r\n"
    with held_request(server, "/predict", 51 * MEGABYTE, b"--b\r\n", form):
        assert eventually(lambda: predicted(server, ("red.png", red)).status_code == 503)
        assert httpx.post(upload_address(server), params=PLACE, content=red).status_code == 503
    assert eventually(lambda: predicted(server, ("red.png", red)).status_code == 200)


def test_one_bad_file_does_not_take_the_others_along(server: str, red: bytes) -> None:
    response = predicted(
        server, ("red.png", red), ("huge.png", bytes(MEGABYTE + 1)), ("half.png", red[:60]), ("red.png", red)
    )
    assert response.status_code == 200
    predictions = response.json()["predictions"]
    assert [entry["state"] for entry in predictions] == ["sure", "unreadable", "unreadable", "sure"]
    assert "larger than 1 MB" in predictions[1]["error"]
    assert "damaged" in predictions[2]["error"]


@pytest.mark.slow
def test_a_hundred_requests_at_a_time(server: str, tmp_path: Path) -> None:
    colours = ["red", "green", "blue"]
    photographs = [paint(tmp_path / f"{colour}.png", colour).read_bytes() for colour in colours]

    def predict(number: int) -> httpx.Response:
        return predicted(server, (f"{number}.png", photographs[number % 3]))

    with ThreadPoolExecutor(100) as pool:
        responses = list(pool.map(predict, range(100)))
    assert {response.status_code for response in responses} == {200}
    found = [response.json()["predictions"][0] for response in responses]
    assert [entry["name"] for entry in found] == [f"{number}.png" for number in range(100)]
    assert [entry["classes"][0]["name"] for entry in found] == [colours[number % 3] for number in range(100)]


def peak_memory(process: int) -> int:
    """Bytes of memory that a process had at most."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_a_hundred_requests_that_do_not_fit_together(bundle_folder: Path, tmp_path: Path) -> None:
    """Each is answered or told to come again, and the server neither grows by them nor stops."""
    noise = np.random.default_rng(0).integers(0, 256, (560, 560, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    photograph = (tmp_path / "noise.png").read_bytes()
    assert 0.8 * MEGABYTE < len(photograph) < MEGABYTE
    temporary = tmp_path / "temporary"
    with started_server(bundle_folder, temporary, "--api", "--max-megabytes=1") as server:
        predicted(server.address, ("noise.png", photograph))
        before = peak_memory(server.process)
        with ThreadPoolExecutor(100) as pool:
            responses = list(
                pool.map(lambda number: predicted(server.address, (f"{number}.png", photograph)), range(100))
            )
        assert peak_memory(server.process) - before < 150 * MEGABYTE
        refused = [response for response in responses if response.status_code == 503]
        assert {response.status_code for response in responses} == {200, 503}
        assert {response.headers["retry-after"] for response in refused} == {"5"}
        assert predicted(server.address, ("noise.png", photograph)).status_code == 200
        assert [path.name for path in temporary.glob(f"{PREFIX}*/*")] == ["lock"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: write_bundle(folder, model=loop()), "has a graph inside a node"),
        (lambda folder: write_bundle(folder, model=too_much_memory()), "needs more than 50% of the memory"),
        (lambda folder: write_bundle(folder, classes=("<script>", "a\x1b[2J", "b")), "printable"),
        (lambda folder: write_bundle(folder, file={"sha256": "0" * 64}), "is not the file that bundle.json describes"),
        (lambda folder: write_bundle(folder, photographs={"train": [10**12] * 3}), "must be an integer"),
    ],
    ids=["endless loop", "too much memory", "terminal escape in a class", "forged hash", "forged counts"],
)
def test_a_hostile_bundle_is_refused_before_the_server_starts(
    make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    command = "from fpcn_lightning.field.command import main; raise SystemExit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", command, "serve", str(make(tmp_path / "bundle")), "--port=0", "--no-browser"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"fpcn: [^\n]+\.\n", ended.stderr)
    assert reason in ended.stderr


def test_the_endpoint_is_described(server: str) -> None:
    description = httpx.get(f"{server}/openapi.json").json()
    assert list(description["paths"]) == ["/predict"]
    operation = description["paths"]["/predict"]["post"]
    assert "multipart/form-data" in operation["requestBody"]["content"]
    assert "503" in operation["responses"]
    assert "Predictions" in json.dumps(operation["responses"]["200"])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_without_the_option_there_is_no_endpoint(bundle_folder: Path, tmp_path: Path, stop: signal.Signals) -> None:
    with started(bundle_folder, tmp_path / "temporary", stop=stop) as address:
        assert httpx.get(address).status_code == 200
        assert httpx.get(f"{address}/openapi.json").status_code == 404
        assert predicted(address, ("red.png", b"")).status_code == 404


@pytest.mark.slow
def test_an_upload_may_take_only_so_long(bundle_folder: Path, tmp_path: Path) -> None:
    short = (
        "from fpcn_lightning.field.serving.uploads import UploadStore; UploadStore.__init__.__kwdefaults__['seconds']=1"
    )
    with started(bundle_folder, tmp_path / "temporary", "--api", before=short) as address:
        page = upload_address(address).removeprefix(address)
        query = "?number=1&total=1&skipped=0&index=0&name=a.png"
        form = "Content-Type: multipart/form-data; boundary=b\r\n"
        for held in (
            held_request(address, page + query, 1000, b"part"),
            held_request(address, "/predict", 1000, b"--b\r\n", form),
        ):
            with held:
                assert held.recv(12) == b"HTTP/1.1 408"


@pytest.mark.slow
def test_uploads_of_a_killed_server_are_removed_by_the_next(bundle_folder: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    with started(bundle_folder, temporary, stop=signal.SIGKILL) as address:
        page = upload_address(address).removeprefix(address)
        held = held_request(address, f"{page}?number=1&total=1&skipped=0&index=0&name=a.png", 1000, b"part")
        assert eventually(lambda: len(list(temporary.glob(f"{PREFIX}*/*"))) == 2)  # the lock and the upload
    held.close()
    (abandoned,) = temporary.glob(f"{PREFIX}*")
    os.utime(abandoned, (0, 0))
    with started(bundle_folder, temporary):
        assert not abandoned.exists()
        (running,) = temporary.glob(f"{PREFIX}*")
        assert running.stat().st_mode & 0o777 == 0o700
        os.utime(running, (0, 0))
        with started(bundle_folder, temporary):
            assert running.exists()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("listens_on", "host", "allowed"),
    [
        ("127.0.0.1", "localhost:7860", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "[::1]:7860", True),
        ("127.0.0.1", "192.168.1.7", False),
        ("0.0.0.0", "192.168.1.7:7860", True),
        ("0.0.0.0", "[fe80::1]:7860", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", f"{socket.gethostname()}:7860", True),
        ("192.168.1.7", "192.168.1.7:7860", True),
        ("192.168.1.7", "localhost", False),
        ("127.0.0.1", "rocks.example", True),
        ("127.0.0.1", "other.rocks.example", False),
    ],
)
def test_the_hosts_that_a_server_is_reached_by(listens_on: str, host: str, allowed: bool) -> None:
    assert AllowedHosts.of(listens_on, ["rocks.example"]).allow(host) == allowed


def test_a_proxy_may_change_the_host() -> None:
    hosts = AllowedHosts.of("127.0.0.1", ["rocks.example"])
    assert hosts.allow_origin("https://rocks.example", "127.0.0.1:7860")
    assert not hosts.allow_origin("https://evil.example", "127.0.0.1:7860")


def test_a_port_that_is_taken_is_named_in_one_sentence(bundle_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = "from fpcn_lightning.field.command import main; raise SystemExit(main())"
        ended = subprocess.run(
            [sys.executable, "-c", command, "serve", str(bundle_folder), f"--port={port}", "--no-browser"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert re.fullmatch(rf"fpcn: The page cannot listen on .* --port={port} .*choose another one.*\.\n", ended.stderr)


def test_missing_nicegui_is_named(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpcn_lightning.installation.find_spec", lambda _: None)
    with pytest.raises(UserError, match=re.escape("pip install 'fpcn-lightning[serve]'")):
        serve(bundle_folder, open_browser=False)


@pytest.mark.slow
def test_other_computers_are_warned_of(bundle_folder: Path, tmp_path: Path) -> None:
    command = "from fpcn_lightning.field.command import main; raise SystemExit(main())"
    arguments = ["serve", str(bundle_folder), "--port=0", "--no-browser", "--host=0.0.0.0"]
    with subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("The page is at http://localhost:")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors == "Warning: --host=0.0.0.0 allows other computers to open the page, without a password.\n"
