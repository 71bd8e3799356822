"""A Hugging Face hub on this machine, for tests: serves folders, and fails when told to."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """A repository: its revisions' files, pull requests, if it is gated, if private."""

    revisions: dict[str, tuple[str, dict[str, bytes]]] = field(default_factory=dict)
    discussions: list[dict] = field(default_factory=list)
    gated: bool = False
    private: bool = False


@dataclass
class Failure:
    """What goes wrong with requests whose path contains `part`, so many `times`."""

    part: str
    times: int
    status: int | None = None
    cut: int | None = None


class HubServer:
    """Speaks the hub's protocol on 127.0.0.1; `log` holds (method, path) of all requests.

    `kind` is `models` or `datasets`; `token` is the one that may write.
    """

    token = "hf_thetokenofthetests"

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.failures: list[Failure] = []
        self.hidden: set[str] = set()
        self.log: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, name: str, folder: Path, kind: str = "models", revision: str = "main") -> str:
        """Serve the files below `folder` as a revision of `name`; return its commit."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return self.put(name, files, kind, revision)

    def put(self, name: str, files: dict[str, bytes], kind: str, revision: str) -> str:
        """Serve `files` as a revision of `name`; return its commit."""
        digest = hashlib.sha1(repr((name, revision)).encode(), usedforsecurity=False)
        for file, content in files.items():
            digest.update(file.encode() + content)
        commit = digest.hexdigest()
        revisions = self.repos.setdefault((kind, name), Repo()).revisions
        revisions[revision] = revisions[commit] = (commit, files)
        return commit

    def propose(self, name: str, folder: Path, author: str, title: str, status: str) -> str:
        """Open a pull request on the model `name` that leaves it as `folder`; return its commit."""
        repo = self.repos["models", name]
        number = len(repo.discussions) + 1
        repo.discussions.append(
            {
                "num": number,
                "title": title,
                "author": {"name": author},
                "status": status,
                "isPullRequest": True,
                "createdAt": "2024-01-01T00:00:00.000Z",
                "repo": {"name": name, "type": "model"},
            }
        )
        return self.add(name, folder, revision=f"refs/pr/{number}")

    def fail(self, part: str, status: int, times: int) -> None:
        """Answer `status` the next so many times a path contains `part`."""
        self.failures.append(Failure(part, times, status=status))

    def cut(self, part: str, after: int, times: int) -> None:
        """Close the connection `after` bytes of a file, the next so many times it is got."""
        self.failures.append(Failure(part, times, cut=after))

    def files_got(self) -> set[str]:
        """Return the names of all files that were asked for."""
        return {path.rpartition("/")[2] for _, path in self.log if "/resolve/" in path}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.log.append((self.command, path))
        if failure := self._failure(path, "status"):
            return self._answer(failure.status, b"{}")
        if path.startswith("/portal/"):
            return self._answer(200, b"<html>Please log in to this network</html>")
        if path.startswith("/api/"):
            return self._api()
        return self._file(path)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Answer `paths-info`, what is known of some files, and all that an upload asks."""
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.log.append((self.command, path))
        body = self._body()
        if failure := self._failure(path, "status"):
            return self._answer(failure.status, b"{}")
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path != "/api/repos/create":
            kind, org, name, what, revision = path.removeprefix("/api/").split("/", 4)
            if what == "paths-info":
                return self._paths(kind, f"{org}/{name}", revision, json.loads(body)["paths"])
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._answer(403, b"{}")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if what == "preupload":
            files = [one["path"] for one in json.loads(body)["files"]]
            answer = {"uploadMode": "regular", "shouldIgnore": False}
            return self._json({"files": [{"path": file, **answer} for file in files]})
        return self._commit(kind, f"{org}/{name}", revision, body.splitlines())

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):  # in chunks
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _paths(self, kind: str, name: str, revision: str, asked: list[str]) -> None:
        if found := self._revision(kind, name, revision):
            self._json([entry for entry in _entries(found[1]) if entry["path"] in asked])

    def _create(self, asked: dict) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if ("models", name) in self.hub.repos:
            url = f"{self.hub.url}/{name}"
            return self._answer(409, json.dumps({"url": url}).encode())
        self.hub.repos["models", name] = Repo(
            private=asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        self.hub.put(name, {".gitattributes": b""}, "models", "main")
        return self._json({"url": f"{self.hub.url}/{name}"})

    def _commit(self, kind: str, name: str, revision: str, lines: list[bytes]) -> None:
        files = dict(self.hub.repos[kind, name].revisions[revision][1])
        for key, value in ((one["key"], one["value"]) for one in map(json.loads, lines)):
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "deletedFile":
                del files[value["path"]]
        commit = self.hub.put(name, files, kind, revision)
        url = f"{self.hub.url}/{name}/commit/{commit}"
        self._json({"commitUrl": url, "commitOid": commit, "success": True})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _failure(self, path: str, what: str) -> Failure | None:
        with self.hub.lock:
            for failure in self.hub.failures:
                if failure.times and failure.part in path and getattr(failure, what) is not None:
                    failure.times -= 1
                    return failure
        return None

    def _api(self) -> None:
        url = urlsplit(self.path)
        # A slash inside a revision comes quoted, so the segments are cut before they are unquoted.
        parts = [unquote(part) for part in url.path.removeprefix("/api/").split("/")]
        kind, org, name, what, revision, *below = (*parts, *[""] * 5)[: max(5, len(parts))]
        if what == "discussions":
            found = self.hub.repos[kind, f"{org}/{name}"].discussions
            return self._json({"count": len(found), "start": 0, "discussions": found})
        resolved = self._revision(kind, f"{org}/{name}", revision or "main")
        if resolved is None:
            return None
        commit, files = resolved
        if what == "tree":
            return self._tree(files, "/".join(below), "recursive=true" in url.query.lower())
        siblings = [{"rfilename": file} for file in files]
        info = {"id": f"{org}/{name}", "sha": commit, "siblings": siblings}
        info["private"] = self.hub.repos[kind, f"{org}/{name}"].private
        return self._json({**info, "tags": [], "downloads": 0, "likes": 0})

    def _tree(self, files: dict[str, bytes], below: str, recursive: bool) -> None:
        prefix = f"{below}/" if below else ""
        inside = {file: content for file, content in files.items() if file.startswith(prefix)}
        if not inside:
            return self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        folders = {prefix + f.removeprefix(prefix).split("/")[0] for f in inside} - set(inside)
        shallow = {file: c for file, c in inside.items() if "/" not in file.removeprefix(prefix)}
        entries = _entries(inside if recursive else shallow)
        return self._json(
            [*entries, *({"type": "directory", "path": f, "oid": "0"} for f in folders)]
        )

    def _revision(self, kind: str, name: str, revision: str) -> tuple[str, dict] | None:
        repo = self.hub.repos.get((kind, name))
        if repo is None:
            return self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if repo.gated and not self.headers.get("Authorization"):
            return self._answer(401, b"{}", {"X-Error-Code": "GatedRepo"})
        if revision not in repo.revisions:
            return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        return repo.revisions[revision]

    def _file(self, path: str) -> None:
        kind = "datasets" if path.startswith("/datasets/") else "models"
        name, _, rest = path.removeprefix("/datasets").strip("/").partition("/resolve/")
        known = self.hub.repos[kind, name].revisions if (kind, name) in self.hub.repos else {}
        revision = next((each for each in known if rest.startswith(f"{each}/")), "main")
        found = self._revision(kind, name, revision)
        if found is None:
            return None
        commit, files = found
        file = rest.removeprefix(f"{revision}/")
        headers = {"X-Repo-Commit": commit}
        if file not in files or file in self.hub.hidden:
            return self._answer(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{hashlib.sha256(files[file]).hexdigest()}"'
        headers["Accept-Ranges"] = "bytes"
        return self._content(path, files[file], headers)

    def _content(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        status, start = 200, 0
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status = 206
        body = content[start:]
        if self.command == "GET" and (failure := self._failure(path, "cut")):
            headers["Content-Length"] = str(len(body))
            self.close_connection = True
            return self._answer(status, body[: failure.cut], headers)
        return self._answer(status, body, headers)

    def _json(self, answer: object) -> None:
        self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entries(files: dict[str, bytes]) -> list[dict]:
    return [
        {
            "type": "file",
            "path": file,
            "size": len(content),
            "oid": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        }
        for file, content in files.items()
    ]
