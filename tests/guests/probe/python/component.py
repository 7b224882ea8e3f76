"""Tries to reach what it was not granted, and tells how that ended."""

import os

import engine_plugin as engine


@engine.source(
    "probe",
    summary="Tries to reach what it was not granted",
    settings={
        "fetch": engine.text("An address to ask for.", default=None),
        "environment": engine.text("A variable to read.", default=None),
        "read": engine.text("A file to read.", default=None),
        "write": engine.text("A file to write.", default=None),
        "clog": engine.text("An address whose request is written for ever, and never sent.", default=None),
        "forgive": engine.text("An address to ask for while planning, and to do without.", default=None),
    },
    examples={"a variable": {"environment": "HOME"}},
    columns={"tried": "text", "found": "text"},
)
class Probe:
    def open(self, config):
        self.forgiven = config.pop("forgive", None)
        self.tries = [(what, target) for what, target in config.items() if target is not None]

    def plan(self, cursor):
        if self.forgiven is not None:
            try:
                engine.fetch(self.forgiven)
            except Exception:
                pass
        return [{}], None

    def read(self, split):
        if self.forgiven is not None:
            raise engine.Error("unavailable", "the other service is down")
        for what, target in self.tries:
            yield {"tried": f"{what} {target}", "found": getattr(self, f"try_{what}")(target)}

    def try_fetch(self, url):
        response = engine.fetch(url)
        if response.status == 302:
            response = engine.fetch(response.headers["location"])
        return f"{response.status} {response.headers.get('location', '')} {response.body[:200]!r}"

    def try_clog(self, url):
        from wit_world.imports import wasi_http_types as http

        request = http.OutgoingRequest(http.Fields.from_list([]))
        body = request.body()
        out = body.write()
        while True:
            out.blocking_write_and_flush(b"x" * 4096)

    def try_environment(self, name):
        return os.environ.get(name)

    def try_read(self, path):
        with open(path, encoding="utf-8") as file:
            return file.read(200)

    def try_write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            return str(file.write("hostile\n"))
