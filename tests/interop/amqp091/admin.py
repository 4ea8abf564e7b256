"""The management API over HTTP, one request at a time."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request


class Admin:
    """Requests as one user; `answer` gives status, decoded body and headers."""

    def __init__(self, port, user="guest", password="guest"):
        self.base = f"http://127.0.0.1:{port}"
        self.headers = {"content-type": "application/json"}
        if user is not None:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self.headers["authorization"] = f"Basic {token}"

    def answer(self, method, path, body=None, headers=()):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        url = path if path.startswith(("/metrics", "/health")) else f"/api/{path}"
        request = urllib.request.Request(self.base + url, data, {**self.headers, **dict(headers)}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, decoded(response), response.headers
        except urllib.error.HTTPError as error:
            return error.code, decoded(error), error.headers

    def status(self, method, path, body=None):
        return self.answer(method, path, body)[0]

    def get(self, path):
        status, body, _ = self.answer("GET", path)
        assert status == 200, (path, status, body)
        return body

    def refused(self, method, path, body=None):
        status, body, _ = self.answer(method, path, body)
        return status, body["error"], body["reason"]


def decoded(response):
    text = response.read().decode()
    is_json = response.headers.get("content-type") == "application/json"
    return json.loads(text) if is_json else text


def quoted(name):
    return urllib.parse.quote(name, safe="")
