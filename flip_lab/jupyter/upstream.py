"""What the API's process gets to see of a request to Jupyter."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from tornado.httputil import HTTPHeaders, HTTPServerRequest

_OURS = frozenset({"token", "_xsrf"})
"""Query arguments that are for Jupyter."""

_NOT_PASSED_ON = frozenset(
    {
        "authorization",  # Jupyter's secrets stay with Jupyter
        "cookie",
        "x-xsrftoken",
        "host",  # Jupyter has checked both, with what it knows of proxies before it
        "origin",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def path_for_api(request: HTTPServerRequest, mount: str) -> str:
    """Give a request's path and query as the API knows them, still percent-encoded."""
    path = request.path[len(mount) :]
    given = parse_qsl(request.query, keep_blank_values=True)
    query = [(name, value) for name, value in given if name not in _OURS]
    return f"{path}?{urlencode(query)}" if query else path


def headers_for_api(headers: HTTPHeaders) -> list[tuple[str, str]]:
    """Give a request's headers without what is between the page and Jupyter."""
    passed = [
        (name, value)
        for name, value in headers.get_all()
        if name.lower() not in _NOT_PASSED_ON
        and not name.lower().startswith(("sec-websocket-", "x-forwarded-"))
    ]
    return [("Host", "localhost"), *passed]
