"""Download: the official files from a local server that fails on demand."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from autoprune.errors import DataError
from autoprune.retry import RETRY_WAITS
from autoprune.tasks.loading import read_splits, read_test
from autoprune.tasks.registry import TASKS

SHC = "/MarathiNLP/main/L3Cube-MahaNews/SHC/SHC_{}.csv"
LPC = "/MarathiNLP/main/L3Cube-MahaNews/LPC/LPC_{}.csv"
INDIC_LPC = "/indic-nlp/main/L3Cube-IndicNews/Marathi/LPC/Marathi_LPC_{}.csv"


class Server(ThreadingHTTPServer):
    """Serve `files`; `mishaps[path]` (a status, a header, `cut` or `skip`) come first.

    `requests` holds the path and the Range asked for of each request, in order.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.mishaps, self.requests = {}, {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files.get(self.path)
        mishap = next(iter(self.server.mishaps.get(self.path, [])), None)
        self.server.mishaps[self.path] = self.server.mishaps.get(self.path, [])[1:]
        self.server.requests.append((self.path, self.headers.get("Range")))
        match mishap:
            case int():
                self.send_error(mishap)
            case {"Location": _} | {"Content-Type": _}:
                self.send_response(302 if "Location" in mishap else 200)
                self.send_header(*next(iter(mishap.items())))
                self.send_header("Content-Length", "0")
                self.end_headers()
            case _ if content is None:
                self.send_error(404)
            case _:
                self.send_content(content, mishap)

    def send_content(self, content, mishap):
        etag = '"' + hashlib.sha256(content).hexdigest() + '"'
        begun = 0
        if self.headers.get("Range") and self.headers.get("If-Range", etag) == etag:
            begun = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        begun += 7 * (mishap == "skip")
        self.send_response(206 if begun else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content) - begun))
        if begun:
            self.send_header("Content-Range", f"bytes {begun}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[begun : len(content) // 2] if mishap == "cut" else content[begun:])

    def log_message(self, *args):
        pass


def csv_of(*texts):
    rows = "".join(f"{text},{label}\n" for text in texts for label in ("Auto",))
    return f"Text,Label\n{rows}last {texts[0]},Tech\n".encode()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    monkeypatch.setenv("AUTOPRUNE_DATA_URL", server.url)
    for word in ("Train", "Valid", "Test"):
        server.files[SHC.format(word)] = csv_of(*(f"{word} {i}" for i in range(200)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """Note the waits between tries in place of waiting."""
    seconds = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def cached(tmp_path, name):
    return tmp_path / "cache" / "mahanews" / "SHC" / name


def refused(match):
    with pytest.raises(DataError, match=match) as caught:
        read_splits(TASKS["shc"])
    assert "\n" not in str(caught.value)


def test_files_are_downloaded_once_and_their_checksums_stored(server, tmp_path):
    splits = read_splits(TASKS["shc"])
    assert splits.train.texts[0] == "Train 0"
    assert len(read_test(TASKS["shc"]).rows) == 201
    assert [path for path, _ in server.requests] == [
        SHC.format(word) for word in ("Train", "Valid", "Test")
    ]
    content = server.files[SHC.format("Train")]
    assert cached(tmp_path, "SHC_Train.csv").read_bytes() == content
    sums = json.loads(cached(tmp_path, "checksums.json").read_text())
    assert sums["SHC_Train.csv"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert not list(cached(tmp_path, ".").glob("*.part*"))


def test_broken_connection_is_resumed(server, tmp_path, waited):
    path = SHC.format("Train")
    server.mishaps[path] = ["cut", 503]
    read_splits(TASKS["shc"])
    half = len(server.files[path]) // 2
    assert server.requests[:3] == [
        (path, None),
        (path, f"bytes={half}-"),
        (path, f"bytes={half}-"),
    ]
    assert waited == [1.0, 2.0]
    assert cached(tmp_path, "SHC_Train.csv").read_bytes() == server.files[path]


def test_file_that_changed_meanwhile_is_not_joined_to_the_old_half(server, tmp_path):
    path = SHC.format("Train")
    server.mishaps[path] = ["cut"] * 5
    refused(r"cannot fetch http.*SHC_Train.csv: the connection broke off after \d+ bytes; download")
    assert cached(tmp_path, "SHC_Train.csv.part").exists()
    assert not cached(tmp_path, "SHC_Train.csv").exists()
    server.files[path] = csv_of(*(f"newer {i}" for i in range(300)))
    read_splits(TASKS["shc"])
    assert cached(tmp_path, "SHC_Train.csv").read_bytes() == server.files[path]


@pytest.mark.parametrize("mishap", [416, "skip"])
def test_range_that_does_not_fit_restarts_the_download(server, tmp_path, mishap):
    path = SHC.format("Train")
    server.mishaps[path] = ["cut", mishap]
    read_splits(TASKS["shc"])
    assert [asked for _, asked in server.requests[:3]][2] is None
    assert cached(tmp_path, "SHC_Train.csv").read_bytes() == server.files[path]


def test_broken_server_is_an_error_of_one_line_with_the_remedy(server, waited):
    server.mishaps[SHC.format("Valid")] = [503] * 9
    refused(r"SHC_Valid.csv: HTTP Error 503: .*; download the files yourself and pass --data-dir$")
    assert waited == list(RETRY_WAITS)
    server.mishaps.clear()
    asked = len(server.requests)
    read_splits(TASKS["shc"])
    assert [path for path, _ in server.requests[asked:]] == [
        SHC.format("Valid"),
        SHC.format("Test"),
    ]


@pytest.mark.parametrize("mishap", [404, 403, {"Content-Type": "text/html"}])
def test_missing_file_is_not_retried(server, waited, mishap):
    server.mishaps[SHC.format("Train")] = [mishap]
    refused(r"^not found: http.*/SHC_Train.csv \(.*\); download the files yourself and pass --data")
    assert waited == []
    assert len(server.requests) == 1


def test_unreachable_server_is_an_error_of_one_line(server, monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_DATA_URL", "http://127.0.0.1:1")
    refused(r"cannot fetch http://127.0.0.1:1/.*refused.*; download the files yourself")


@pytest.mark.parametrize("url", ["http://example.org", "file:///etc", "ftp://127.0.0.1"])
def test_url_must_be_https_or_on_this_machine(server, monkeypatch, url):
    monkeypatch.setenv("AUTOPRUNE_DATA_URL", url)
    refused(r"data are fetched over https only, got ")


def test_redirect_must_stay_on_https(server):
    server.mishaps[SHC.format("Train")] = [{"Location": "http://example.org/SHC_Train.csv"}]
    refused(r"https only, got 'http://example.org/SHC_Train.csv'")


def test_first_mirror_with_all_files_serves_the_whole_set(server, tmp_path):
    for word in ("Train", "Valid", "Test"):
        server.files[INDIC_LPC.format(word)] = csv_of(f"indic {word}")
    server.files[LPC.format("Train")] = csv_of("maha Train")
    assert read_splits(TASKS["lpc"]).train.texts == ("indic Train", "last indic Train")
    for word in ("Train", "Valid", "Test"):
        server.files[LPC.format(word)] = csv_of(f"maha {word}")
    assert read_splits(TASKS["lpc"]).train.texts == ("indic Train", "last indic Train")


def test_changed_file_is_refused_until_it_is_deleted(server, tmp_path):
    before = read_splits(TASKS["shc"])
    path = cached(tmp_path, "SHC_Test.csv")
    path.write_bytes(path.read_bytes() + b"more,Auto\n")
    refused(r"SHC_Test.csv must be as it was fetched, it has changed: delete it to fetch it again")
    path.unlink()
    assert read_splits(TASKS["shc"]) == before
    cached(tmp_path, "checksums.json").write_text("{")
    refused(r"checksums.json is broken: delete it")


def test_unwritable_cache_is_an_error_of_one_line(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AUTOPRUNE_CACHE_DIR", str(tmp_path / "file"))
    refused(r"cannot store downloaded files in file/mahanews/SHC: Not a directory")
