"""The engine's kit for components in Python.

`engine plugins new` writes this file beside `component.py`, where the component
stands; `engine plugins build` makes one `.wasm` of the two. It is not to be
edited: a newer engine may bring a newer one.

What a component looks like:

    import engine_plugin as engine

    @engine.transform(
        "shout",
        summary="Writes a column in capitals",
        settings={"column": engine.text("The text column.")},
        examples={"the name": {"column": "name"}},
    )
    class Shout:
        def open(self, config):
            self.column = config["column"]

        def transform(self, row):
            if row[self.column] is None:
                raise engine.Reject("no_text", f"`{self.column}` is empty")
            row[self.column] = row[self.column].upper()
            return row

The decorators `source`, `transform`, `format` and `sink` say in their own texts
which methods a class may have. Every class may also have

    open(config)    the settings, checked and with defaults filled in. Looks at
                    them only: raises Error("config", …) for what the schema
                    cannot say, and reaches nothing outside
    check()         tries what is needed to work, changes nothing, and returns
                    one line for a person

A row is a dict from column to value: str, int, float, bool, None; bytes for
`binary`, decimal.Decimal for `decimal(…)`. Dates and times are text, as ISO 8601
writes them. Columns are a dict from name to type: `text`, `integer`, `number`,
`decimal(12,2)`, `boolean`, `date`, `timestamp`, `timestamptz`, `binary`.

Import at the top of the file: the built module holds what was imported when it
was built, and finds nothing later. Modules in pure Python from a virtual
environment work, those with parts in C do not.

What goes wrong is raised: Reject for a row or record that is refused, Error for
everything that ends the work. Any other exception is taken for a bug, except
OSError, whose kind follows from what happened.
"""

import base64
import json
import math
import os
import re
import time
import traceback
from collections import namedtuple
from decimal import Decimal
from urllib.parse import urlsplit

try:
    # These exist only inside the built module.
    from componentize_py_types import Err as _Err
    from wit_world.imports import engine_plugin_types as _wit_types
    from wit_world.imports import host as _wit_host
    from wit_world.imports import outgoing_handler as _wit_http
    from wit_world.imports import streams as _wit_streams
    from wit_world.imports import wasi_http_types as _wit_http_types
except ImportError:
    _wit_host = None

#: Rows of one batch that a source gives.
BATCH_ROWS = 1000
#: A source gives a smaller batch rather than make the engine wait longer, in seconds.
BATCH_SECONDS = 0.1
#: The largest piece of a file that is given at once, in bytes.
PIECE_BYTES = 1024 * 1024
#: A line of more bytes becomes a dead letter that keeps its beginning.
LONGEST_LINE_BYTES = 16 * 1024 * 1024

_KINDS = ("config", "denied", "unavailable", "rate_limited", "rejected", "internal", "cancelled")


class Error(Exception):
    """Ends the work. The kind alone decides what the engine does.

    config        wrong settings, no such column or table: gives up at once
    denied        a login or a permission was refused: gives up at once
    unavailable   cannot be reached, not ready, disk full: tries again
    rate_limited  the other side asks to wait: tries again after `retry_after_ms`
    rejected      a sink: the whole delivery's rows become dead letters
    internal      a bug
    cancelled     stopped because `cancelled()` was true

    Do not retry in the component: the engine does. Never put a secret in a text.
    """

    def __init__(self, kind, message, hint=None, retry_after_ms=None):
        if kind not in _KINDS:
            raise ValueError(f"`{kind}` is no kind of error; the kinds are {', '.join(_KINDS)}")
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.retry_after_ms = retry_after_ms


class Reject(Exception):
    """Refuses one row or record, which becomes a dead letter; its neighbours go on.

    `code` is a short stable word to group by, such as `bad_date`; `reason` says
    what is wrong, with the value and the column, for a person.
    """

    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


# ---- Settings -------------------------------------------------------------------

_REQUIRED = object()


def _setting(schema, description, default):
    schema["description"] = description
    if default is not _REQUIRED:
        schema["default"] = default
        if default is None:
            schema["type"] = [schema["type"], "null"]
    return schema


def text(description, default=_REQUIRED, choices=None, format=None):
    """A text; without a default it must be given. `format` may be `secret`, `template`, `duration` or `bytes`."""
    schema = {"type": "string"}
    if choices is not None:
        schema["enum"] = list(choices) + ([None] if default is None else [])
    if format is not None:
        schema["format"] = format
    if format == "secret":
        schema["writeOnly"] = True
    return _setting(schema, description, default)


def integer(description, default=_REQUIRED, minimum=None, maximum=None):
    """A whole number."""
    return _setting({"type": "integer", **_limits(minimum, maximum)}, description, default)


def number(description, default=_REQUIRED, minimum=None, maximum=None):
    """A number."""
    return _setting({"type": "number", **_limits(minimum, maximum)}, description, default)


def boolean(description, default=_REQUIRED):
    """`true` or `false`."""
    return _setting({"type": "boolean"}, description, default)


def texts(description, default=_REQUIRED):
    """A list of texts."""
    return _setting({"type": "array", "items": {"type": "string"}}, description, default)


def mapping(description, default=_REQUIRED, choices=None):
    """Names to texts; with `choices`, to one of these."""
    values = {"type": "string"} if choices is None else {"type": "string", "enum": list(choices)}
    return _setting({"type": "object", "additionalProperties": values}, description, default)


def _limits(minimum, maximum):
    limits = {"minimum": minimum, "maximum": maximum}
    return {name: limit for name, limit in limits.items() if limit is not None}


_TYPES = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _fits(schema, value, place):
    """Checks as much of JSON Schema as settings are made of, also hand-written ones."""

    def refuse(what):
        raise Error("config", f"{place} {what}", schema.get("description"))

    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        refuse(f"must be of the type {' or '.join(kinds)}")
    if "enum" in schema and value not in schema["enum"]:
        refuse(f"must be one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            refuse(f"must be at least {schema['minimum']}")
        if value > schema.get("maximum", value):
            refuse(f"must be at most {schema['maximum']}")
    if isinstance(value, (str, list)) and len(value) < schema.get("minLength", schema.get("minItems", 0)):
        refuse("is too short")
    if isinstance(value, list):
        for item in value:
            _fits(schema.get("items", {}), item, f"an item of {place}")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        for name, member in value.items():
            if name in known:
                _fits(known[name], member, f"`{name}`")
            elif others is False:
                hint = f"the settings are {', '.join(known)}" if known else "there are no settings"
                raise Error("config", f"unknown setting `{name}`", hint)
            elif isinstance(others, dict):
                _fits(others, member, f"`{name}` in {place}")
        for name in schema.get("required", []):
            if name not in value:
                raise Error("config", f"`{name}` is missing", known.get(name, {}).get("description"))


# ---- Components -----------------------------------------------------------------

_components = {}

#: What each kind must have: one of each line.
_NEEDED = {
    "source": [("plan",), ("read",)],
    "transform": [("transform", "push")],
    "format": [("decode_line", "decode", "encode_line", "encode")],
    "sink": [("write",), ("commit",)],
}


def _register(kind, name, summary, settings, examples, columns=None, added=None, removed=(), **members):
    def register(made):
        for names in _NEEDED[kind]:
            if not any(callable(getattr(made, each, None)) for each in names):
                wanted = " or ".join(f"`{each}`" for each in names)
                raise TypeError(f"the {kind} `{name}` needs a method {wanted}, and {made.__name__} has none")
        properties = settings or {}
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
            "required": [name for name, setting in properties.items() if "default" not in setting],
        }
        description = {
            "summary": summary,
            "schema": schema,
            "examples": [{"title": title, "config": config} for title, config in (examples or {}).items()],
        }
        description.update({name: value for name, value in members.items() if value is not None})
        if kind == "format":
            description["decodes"] = hasattr(made, "decode") or hasattr(made, "decode_line")
            description["encodes"] = hasattr(made, "encode") or hasattr(made, "encode_line")
        made._engine_columns = columns
        made._engine_added = added or {}
        made._engine_removed = tuple(removed)
        _components[kind, name] = (made, description)
        return made

    return register


def source(name, *, summary, settings=None, examples=None, columns=None, gives=None, repeatable=True):
    """A source. `examples` maps a title to a configuration.

    plan(cursor)    cuts what there is to read: returns the list of splits and
                    the upper bound, which is the next run's cursor. A split is
                    a dict of all that `read` needs, in the order of the rows.
                    `cursor` is None in the first run. Without an upper bound
                    (None) every run reads everything. When nothing is new: no
                    splits, and the cursor as it came
    read(split)     gives the rows of one split, always the same, in the same
                    order; a generator. With gives="files": (name, bytes) pairs
    columns()       the columns, where they do not stand in the decorator
    """
    return _register("source", name, summary, settings, examples, columns=columns, gives=gives, repeatable=repeatable)


def transform(name, *, summary, settings=None, examples=None, scope="row", added=None, removed=()):
    """A transform. What it does to the columns stands in `added` and `removed`.

    transform(row)  returns the row that goes out, None to leave it out, or
                    raises Reject. The row is the method's own to change
    push(rows)      instead, for whole batches, with scope "batch" or "window":
                    returns the rows that go out. What it leaves out on purpose
                    it counts with `filtered`, what it refuses it gives to
                    `reject_rows`
    start(columns)  a stream begins; returns the columns of what comes out.
                    Replaces `added` and `removed`
    finish()        the stream has ended: returns the rows that `push` held back
    """
    return _register("transform", name, summary, settings, examples, added=added, removed=removed, scope=scope)


def format(name, *, summary, settings=None, examples=None, columns=None):
    """A format: what it has of `decode…` and `encode…` says which ways it goes.

    decode_line(line)   the row of one line of text, given without its end; None
                        if the line holds no record; or raises Reject
    decode(name, data)  instead, for files that are no lines: gives the rows of
                        one whole file; a generator. `reject_record` refuses what
                        cannot be read
    columns()           the columns of what is decoded, where they do not stand
                        in the decorator
    encode_line(row)    the line of one row, without its end; or raises Reject
    encode(rows)        instead: the text or bytes of some rows
    encode_start(columns), encode_end()
                        what stands before the first row and behind the last
    """
    return _register("format", name, summary, settings, examples, columns=columns)


def sink(name, *, summary, settings=None, examples=None, takes=None, promise="at-least-once", unit=None):
    """A sink. A delivery is a dict; its `key` never stands for another delivery.

    begin_run(run)          once a window. True: several instances may deliver
                            splits at the same time, in any order
    begin_split(delivery)   a dict (the receipt) if the delivery has arrived
                            before, else None
    start(delivery, columns)  the rows begin
    write(rows)             takes some rows, visible to no one; with
                            takes="files": write(name, data), one piece of a file
    finish(delivery)        all of it is there: makes it ready. May return a dict
                            with `bytes`, `sha256` and `parts`
    commit(delivery)        makes it visible, all or nothing, once; returns the
                            receipt: a dict with `rows`, `bytes`, `location`
    abort(delivery)         throws away what an unfinished delivery left; works
                            on nothing, and twice
    finish_run(run)         after the last commit; must work twice

    A row that is refused goes to `reject_rows`; all others count as taken.
    """
    return _register("sink", name, summary, settings, examples, takes=takes, promise=promise, unit=unit)


# ---- What the engine offers -----------------------------------------------------


class _GuestHost:
    """The engine itself, inside the built module."""

    def __getattr__(self, name):
        call = getattr(_wit_host, name)

        def guarded(*arguments):
            try:
                return call(*arguments)
            except _Err as error:
                value = error.value
                kind = value.kind.name.lower()
                raise Error(kind, value.message, value.hint, value.retry_after_ms) from None

        return guarded

    def fetch(self, *request):
        return _wit_fetch(*request)

    def log(self, level, message):
        _wit_host.log(getattr(_wit_host.Level, level.upper()), message)


class _NoHost:
    def __getattr__(self, name):
        raise RuntimeError(f"`{name}` needs the engine: open the component with engine_plugin.Test")


_host = _GuestHost() if _wit_host else _NoHost()
_folder = ""
_remembered = None
_rejected_rows = 0


def log(message, level="info"):
    """Writes to the engine's log; levels are error, warn, info, debug, trace."""
    _host.log(level, message)


def cancelled():
    """Whether the work should stop soon. The kit asks for every batch; ask in anything longer than 100 ms."""
    return _host.cancelled()


def check_cancelled():
    """Ends the work if it should stop."""
    if _host.cancelled():
        raise Error("cancelled", "stopped on request")


def deadline():
    """Milliseconds that the present operation may still take; None: no limit."""
    return _host.deadline()


def filtered(rows):
    """Counts rows that a transform left out on purpose. For `push`; `transform` returns None instead."""
    _host.filtered(rows)


def reject_rows(code, reason, rows):
    """Refuses rows, as they came in. For `push` and `write`; elsewhere raise Reject."""
    global _rejected_rows
    _host.reject_rows(code, reason, _rows_text(rows))
    _rejected_rows += len(rows)


def reject_record(code, reason, name, data):
    """Refuses a record in `decode`: `data` is what it takes to read it alone."""
    _open.records += 1
    _host.reject_record(code, reason, name, bytes(data))


def receipt(part):
    """Adds a part to the present delivery's receipt: anything that JSON can write."""
    _host.receipt(json.dumps(part))


def remember(value):
    """
    Keeps a value for this stage, also for later runs: what would be costly to get again, such as a login.
    None forgets it.
    """
    _host.remember(json.dumps(value))


def remembered():
    """What was kept with `remember` when the component was opened; None where there is none."""
    return _remembered


def path(text):
    """A path of the configuration: relative ones are relative to the pipeline file."""
    return os.path.normpath(os.path.join(_folder, text))


#: What `fetch` answers: a number, a dict with names in small letters, and bytes.
Response = namedtuple("Response", "status headers body")


def fetch(url, method="GET", headers=None, body=b""):
    """Asks a host that the pipeline grants, and waits for the whole answer.

    A status such as 404 is an answer and no error, and redirects are answers too.
    What keeps a host from answering is an Error: `denied` where it is not granted.
    """
    return _host.fetch(url, method, headers or {}, _bytes(body))


# Requests that were wrong, or that the engine does not let out. All else may pass.
_HTTP_KINDS = {
    "HttpRequestDenied": "denied",
    "HttpRequestMethodInvalid": "config",
    "HttpRequestUriInvalid": "config",
    "HttpRequestUriTooLong": "config",
    "DestinationNotFound": "config",
    "TlsCertificateError": "denied",
}


def _http_error(url, code):
    name = type(code).__name__.removeprefix("ErrorCode_")
    detail = getattr(code, "value", None)
    words = re.sub(r"(?<=.)([A-Z])", lambda it: f" {it[1].lower()}", name)
    host = urlsplit(url).netloc.rpartition("@")[2]
    return Error(_HTTP_KINDS.get(name, "unavailable"), f"{host}: {detail if isinstance(detail, str) else words}")


def _wit_fetch(url, method, headers, body):
    http, parts = _wit_http_types, urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Error("config", "the address does not begin with http:// or https:// and a host")
    request = http.OutgoingRequest(http.Fields.from_list([(name, _bytes(text)) for name, text in headers.items()]))
    known = getattr(http, f"Method_{method.capitalize()}", None)
    request.set_method(known() if known else http.Method_Other(method))
    request.set_scheme(http.Scheme_Https() if parts.scheme == "https" else http.Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    out = request.body()
    try:
        coming = _wit_http.handle(request, None)
        stream = out.write()
        with stream:
            # The largest piece that this call takes.
            for at in range(0, len(body), 4096):
                stream.blocking_write_and_flush(body[at : at + 4096])
        http.OutgoingBody.finish(out, None)
        with coming.subscribe() as ready:
            ready.block()
        answer = coming.get()
        # Two results, one in the other: taken once, and what the other side said.
        answer = answer.value
        if isinstance(answer, _Err):
            raise answer
        response = answer.value
        found = {name.lower(): text.decode("latin-1") for name, text in response.headers().entries()}
        data = bytearray()
        with response.consume() as incoming, incoming.stream() as stream:
            try:
                while piece := stream.blocking_read(PIECE_BYTES):
                    data += piece
            except _Err as end:
                if not isinstance(end.value, _wit_streams.StreamError_Closed):
                    raise Error("unavailable", f"{parts.hostname}: the answer broke off") from None
        return Response(response.status(), found, bytes(data))
    except _Err as error:
        raise _http_error(url, error.value) from None


def from_text(text, type):
    """A text as a value of a column's type; raises Reject if it is none."""
    try:
        if type == "integer" and re.fullmatch(r"-?[0-9]+", text) and -(2**63) <= int(text) < 2**63:
            return int(text)
        if type == "number" and re.fullmatch(r"-?([0-9.]+([eE][-+]?[0-9]+)?|Infinity|inf)|NaN|nan", text):
            return float(text)
        if type.startswith("decimal"):
            return Decimal(text)
        if type == "boolean":
            return {"true": True, "false": False}[text]
        if type == "binary":
            return base64.b64decode(text, validate=True)
        if type not in ("integer", "number"):
            return text
    except (ValueError, ArithmeticError, KeyError):
        pass
    raise Reject(f"bad_{type.split('(')[0]}", f"`{text}` is no {type}")


def to_text(value):
    """A value as the text that `from_text` reads back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, (dict, list)):
        return _rows_text(value).decode()
    return value if isinstance(value, str) else _plain(value) if not isinstance(value, (int, float)) else repr(value)


# ---- Rows as JSON ---------------------------------------------------------------

_FILES = [
    {"name": "name", "type": "text", "nullable": False},
    {"name": "data", "type": "binary", "nullable": False},
]


def _plain(value):
    """What json.dumps does not know of."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        # As a text: a number of JSON would lose digits on some ways.
        return f"{value:f}" if value.is_finite() else str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a row holds a {type(value).__name__}, which no column can have")


def _without_nan(value):
    """JSON has no NaN and no infinity; they cross as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _without_nan(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return value


def _rows_text(rows):
    try:
        text = json.dumps(rows, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_without_nan(rows), default=_plain, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _column_list(columns):
    """Columns as a dict, to columns as they cross the border."""
    return [{"name": name, "type": type} for name, type in columns.items()]


class _Rows:
    """Reads and writes the rows of one stream."""

    def __init__(self, columns):
        self.columns = columns
        self.names = {column["name"] for column in columns}
        self.convert = {}
        self.decimals = [column["name"] for column in columns if column["type"].startswith("decimal")]
        self.parse_float = None
        for column in columns:
            name, type = column["name"], column["type"]
            if type == "binary":
                self.convert[name] = base64.b64decode
            elif type.startswith("decimal"):
                self.convert[name] = lambda value: value if isinstance(value, Decimal) else Decimal(value)
                # Also those of other columns; these are made floats again.
                self.parse_float = Decimal
            elif type == "number":
                self.convert[name] = float
            elif re.fullmatch("integer|u?int(8|16|32|64)", type, re.IGNORECASE):
                # Beyond 2^53 they cross as texts.
                self.convert[name] = int

    @classmethod
    def of(cls, schema):
        return cls(json.loads(schema)["columns"])

    def schema(self):
        return json.dumps({"columns": self.columns}, ensure_ascii=False).encode()

    def types(self):
        return {column["name"]: column["type"] for column in self.columns}

    def read(self, batch):
        """The rows as JSON has them."""
        return json.loads(batch, parse_float=self.parse_float)

    def row(self, raw):
        """A row as an author sees it: a new dict."""
        row = dict(raw)
        for name, convert in self.convert.items():
            value = row.get(name)
            if value is not None:
                row[name] = convert(value)
        return row

    def write(self, rows):
        for row in rows:
            if not isinstance(row, dict):
                raise Error("internal", f"{_shown(row)} was given for a row", "a row is a dict of columns and values")
            if not row.keys() <= self.names:
                unknown = ", ".join(f"`{name}`" for name in row if name not in self.names)
                hint = "a transform names new columns in `added`, or returns all of them from `start`"
                raise Error("internal", f"a row has the column {unknown}, which was not declared", hint)
            for name in self.decimals:
                # A number of JSON keeps 64 bits of it.
                if isinstance(row.get(name), int):
                    row[name] = str(row[name])
        return _rows_text(rows)


# ---- An open component ----------------------------------------------------------


class _Open:
    """One component between `open` and the end of its instance."""

    def __init__(self, kind, name, request):
        global _folder, _remembered
        made, self.description = _find(kind, name)
        self.kind, self.name, self.records = kind, name, 0
        request = json.loads(request)
        config = request.get("config")
        schema = self.description["schema"]
        _fits(schema, config, "the configuration")
        defaults = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
        _folder = request.get("folder", "")
        _remembered = request.get("remembered")
        self.component = made()
        self.has("open", lambda config: None)({**defaults, **config})

    def has(self, name, otherwise=None):
        return getattr(self.component, name, otherwise)

    def check(self):
        summary = self.has("check", lambda: None)()
        return json.dumps({"summary": summary or "the configuration is complete"})

    def own_columns(self):
        columns = self.component._engine_columns
        if columns is None and self.has("columns"):
            columns = self.component.columns()
        if not columns:
            raise Error("config", f"`{self.name}` has no columns", "name them in the settings")
        return _column_list(columns)

    # Sources

    def plan(self, request):
        planned = self.component.plan(json.loads(request).get("cursor"))
        if not (isinstance(planned, tuple) and len(planned) == 2 and isinstance(planned[0], list)):
            hint = "return the list of splits and the upper bound, which may be None"
            raise Error("internal", f"plan() returned {_shown(planned)}", hint)
        splits, upper = planned
        named = [split if "id" in split and "spec" in split else {"spec": split} for split in splits]
        # Ids sort in the order of the rows, hence the zeros.
        plan = {"splits": [{"id": f"{number:06}", **split} for number, split in enumerate(named)]}
        if upper is not None:
            plan["upper"] = upper
        return json.dumps(plan)

    def read(self, split):
        self.files = self.description.get("gives") == "files"
        self.output = _Rows(_FILES if self.files else self.own_columns())
        self.rows = iter(self.component.read(json.loads(split)["spec"]))
        self.piece = None
        return self.output.schema()

    def next(self):
        check_cancelled()
        if self.files:
            return self.next_piece()
        rows, until = [], time.monotonic() + BATCH_SECONDS
        for row in self.rows:
            rows.append(row)
            if len(rows) == BATCH_ROWS or time.monotonic() > until:
                break
        return self.output.write(rows) if rows else None

    def next_piece(self):
        if not self.piece:
            found = next(self.rows, None)
            if found is None:
                return None
            self.piece = (found[0], memoryview(_bytes(found[1])))
        name, data = self.piece
        self.piece = (name, data[PIECE_BYTES:]) if len(data) > PIECE_BYTES else None
        return self.output.write([{"name": name, "data": data[:PIECE_BYTES]}])

    # Transforms

    def start_transform(self, schema):
        self.input = _Rows.of(schema)
        if self.has("start"):
            columns = self.component.start(self.input.types())
            if not isinstance(columns, dict):
                hint = "return the columns of what comes out: a dict of names and types"
                raise Error("internal", f"start() returned {_shown(columns)}", hint)
        else:
            columns = {**self.input.types(), **self.component._engine_added}
            for name in self.component._engine_removed:
                columns.pop(name, None)
        # What the engine said about a column that stays is said again.
        known = {(column["name"], column["type"]): column for column in self.input.columns}
        self.output = _Rows([known.get((column["name"], column["type"]), column) for column in _column_list(columns)])
        return self.output.schema()

    def push_transform(self, batch):
        check_cancelled()
        rows = self.input.read(batch)
        if self.has("push"):
            return self.batches(self.component.push([self.input.row(row) for row in rows]))
        out, left_out = [], 0
        for raw in rows:
            try:
                row = self.component.transform(self.input.row(raw))
            except Reject as reject:
                _host.reject_rows(reject.code, reject.reason, _rows_text([raw]))
                continue
            if row is None:
                left_out += 1
            elif isinstance(row, dict):
                out.append(row)
            else:
                hint = "return the row, None to leave it out, or raise Reject"
                raise Error("internal", f"transform() returned {_shown(row)}", hint)
        if left_out:
            _host.filtered(left_out)
        return self.batches(out)

    def finish_transform(self):
        return self.batches(self.has("finish", lambda: [])())

    def batches(self, rows):
        rows = list(rows or [])
        return [self.output.write(rows)] if rows else []

    # Formats

    def start_format(self, direction, schema):
        self.direction, self.records, self.file, self.pending = direction, 0, None, bytearray()
        self.skipping, self.given = False, False
        self.input = _Rows.of(schema)
        if direction == "decode" and self.description["decodes"]:
            self.output = _Rows(self.own_columns())
        elif direction == "encode" and self.description["encodes"]:
            self.output = _Rows(_FILES)
            self.head = self.has("encode_start", lambda columns: None)(self.input.types())
        else:
            raise Error("config", f"`{self.name}` does not {direction}")
        return self.output.schema()

    def push_format(self, batch):
        check_cancelled()
        if self.direction == "encode":
            return self.encode(self.input.read(batch))
        rows, size = [], 0
        for raw in self.input.read(batch):
            piece = self.input.row(raw)
            size += len(piece["data"])
            if self.file is not None and self.file != piece["name"]:
                rows += self.end_file()
            self.file = piece["name"]
            self.pending += piece["data"]
            if self.has("decode_line"):
                rows += self.whole_lines()
        return self.decoded(rows, size)

    def finish_format(self):
        if self.direction == "decode":
            return self.decoded(self.end_file() if self.file is not None else [], 0)
        pieces = self.pieces(self.take_head() + _bytes(self.has("encode_end", lambda: None)()))
        # An encoder gives a file also when there are no rows.
        return pieces if pieces or self.given else [self.output.write([{"name": "", "data": b""}])]

    def decoded(self, rows, size):
        _host.progress(self.records + len(rows), size)
        self.records = 0
        return [self.output.write(rows[at : at + BATCH_ROWS]) for at in range(0, len(rows), BATCH_ROWS)]

    def end_file(self):
        data, self.pending = bytes(self.pending), bytearray()
        if self.has("decode_line"):
            rows = [] if self.skipping or not data else self.line(data)
            self.skipping = False
            return rows
        return list(self.component.decode(self.file, data))

    def whole_lines(self):
        rows, at = [], 0
        while (end := self.pending.find(b"\n", at) + 1) > 0:
            if self.skipping:
                self.skipping = False
            else:
                rows += self.line(bytes(self.pending[at:end]))
            at = end
        del self.pending[:at]
        if len(self.pending) > LONGEST_LINE_BYTES:
            if not self.skipping:
                self.too_long(bytes(self.pending))
            self.skipping = True
            self.pending.clear()
        return rows

    def line(self, data):
        if len(data) > LONGEST_LINE_BYTES:
            self.too_long(data)
            return []
        try:
            row = self.component.decode_line(data.removesuffix(b"\n").removesuffix(b"\r").decode())
        except UnicodeDecodeError as error:
            self.refuse("not_utf8", f"the line is not UTF-8 text: {error.reason} at byte {error.start + 1}", data)
            return []
        except Reject as reject:
            self.refuse(reject.code, reject.reason, data)
            return []
        return [] if row is None else [row]

    def too_long(self, data):
        self.refuse("too_long", f"the line is longer than {LONGEST_LINE_BYTES} bytes", data[:LONGEST_LINE_BYTES])

    def refuse(self, code, reason, data):
        reject_record(code, reason, self.file, data)

    def take_head(self):
        head, self.head = _bytes(self.head), None
        return head

    def encode(self, rows):
        data = self.take_head()
        if self.has("encode_line"):
            for raw in rows:
                try:
                    data += _bytes(self.component.encode_line(self.input.row(raw))) + b"\n"
                except Reject as reject:
                    _host.reject_rows(reject.code, reject.reason, _rows_text([raw]))
        else:
            data += _bytes(self.component.encode([self.input.row(raw) for raw in rows]))
        return self.pieces(data)

    def pieces(self, data):
        self.given = self.given or len(data) > 0
        return [
            self.output.write([{"name": "", "data": data[at : at + PIECE_BYTES]}])
            for at in range(0, len(data), PIECE_BYTES)
        ]

    # Sinks

    def begin_run(self, run):
        parallel = self.has("begin_run", lambda run: None)(json.loads(run))
        return json.dumps({"parallel": bool(parallel)})

    def begin_split(self, delivery):
        found = self.has("begin_split", lambda delivery: None)(json.loads(delivery))
        if found is None:
            return '{"status": "new"}'
        return json.dumps(found if "status" in found else {"status": "committed", "receipt": found})

    def start_write(self, delivery, schema):
        global _rejected_rows
        self.delivery, self.input = json.loads(delivery), _Rows.of(schema)
        self.taken, self.bytes, _rejected_rows = 0, 0, 0
        self.has("start", lambda delivery, columns: None)(self.delivery, self.input.types())

    def push_write(self, batch):
        check_cancelled()
        rows = [self.input.row(raw) for raw in self.input.read(batch)]
        if self.description.get("takes") != "files":
            self.taken += len(rows)
            self.component.write(rows)
            return
        for piece in rows:
            self.bytes += len(piece["data"])
            self.component.write(piece["name"], piece["data"])

    def finish_write(self):
        own = self.has("finish", lambda delivery: None)(self.delivery)
        return json.dumps(
            {"rows": self.taken - _rejected_rows if self.taken else 0, "bytes": self.bytes, **(own or {})}
        )

    def commit(self, delivery):
        return json.dumps(self.component.commit(json.loads(delivery)) or {})

    def abort(self, delivery):
        self.has("abort", lambda delivery: None)(json.loads(delivery))

    def finish_run(self, run):
        self.has("finish_run", lambda run: None)(json.loads(run))


def _bytes(data):
    if data is None:
        return b""
    return data.encode() if isinstance(data, str) else data


def _shown(value):
    """What an author gave instead of something else."""
    return "nothing" if value is None else type(value).__name__


def _find(kind, name):
    if (kind, name) not in _components:
        known = ", ".join(f"{kind} {name}" for kind, name in _components)
        hint = "the names in component.py and plugin.json must be the same"
        raise Error("internal", f"plugin.json lists the {kind} `{name}`, and this module has {known or 'none'}", hint)
    return _components[kind, name]


_open = None

_GRANT = (
    "the pipeline grants folders with `permissions: {read: [FOLDER]}` or `write`, "
    "and `engine.path` finds what lies in the pipeline's own"
)


def _as_error(exception):
    """Any exception, as the error that the engine gets."""
    if isinstance(exception, Error):
        return exception
    if isinstance(exception, Reject):
        return Error("rejected", exception.reason)
    if isinstance(exception, OSError):
        if isinstance(exception, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
            # A folder that was not granted looks like one that is not there.
            return Error("config", str(exception), f"if it is there, {_GRANT}")
        # 76 is what WASI says of a folder that was not granted.
        if isinstance(exception, PermissionError) or exception.errno in (30, 69, 76):
            return Error("denied", str(exception), _GRANT)
        return Error("unavailable", str(exception))
    frames = traceback.extract_tb(exception.__traceback__)
    # The author's own line, and not the one of a library below it.
    beside = os.path.dirname(__file__)
    own = [frame for frame in frames if os.path.dirname(frame.filename) == beside and frame.filename != __file__]
    own = own or [frame for frame in frames if frame.filename != __file__]
    place = (own or frames)[-1:]
    where = "".join(f" ({os.path.basename(frame.filename)}:{frame.lineno}, in {frame.name})" for frame in place)
    return Error("internal", f"{type(exception).__name__}: {exception}{where}")


# ---- The border -----------------------------------------------------------------
#
# componentize-py looks for a class for each interface that the world exports, by
# the interface's name; those of the other worlds are left alone.


def _border(call):
    def guarded(*arguments):
        try:
            return call(*arguments)
        except Exception as exception:
            error = _as_error(exception)
            kind = getattr(_wit_types.ErrorKind, error.kind.upper())
            raise _Err(_wit_types.Error(kind, error.message, error.hint, error.retry_after_ms)) from None

    return guarded


class Component:
    @_border
    def describe(self, kind, name):
        return json.dumps(_find(kind.name.lower(), name)[1], ensure_ascii=False)

    @_border
    def open(self, kind, name, request):
        global _open
        _open = _Open(kind.name.lower(), name, request)

    @_border
    def check(self):
        return _open.check()


class Source:
    plan = _border(lambda self, request: _open.plan(request))
    read = _border(lambda self, split: _open.read(split))
    next = _border(lambda self: _open.next())


class Transform:
    start = _border(lambda self, schema: _open.start_transform(schema))
    push = _border(lambda self, batch: _open.push_transform(batch))
    finish = _border(lambda self: _open.finish_transform())


class Format:
    start = _border(lambda self, direction, schema: _open.start_format(direction.name.lower(), schema))
    push = _border(lambda self, batch: _open.push_format(batch))
    finish = _border(lambda self: _open.finish_format())


class Sink:
    begin_run = _border(lambda self, run: _open.begin_run(run))
    begin_split = _border(lambda self, delivery: _open.begin_split(delivery))
    commit = _border(lambda self, delivery: _open.commit(delivery))
    abort = _border(lambda self, delivery: _open.abort(delivery))
    finish_run = _border(lambda self, run: _open.finish_run(run))


class Writer:
    start = _border(lambda self, delivery, schema: _open.start_write(delivery, schema))
    push = _border(lambda self, batch: _open.push_write(batch))
    finish = _border(lambda self: _open.finish_write())


# ---- Tests ----------------------------------------------------------------------

#: What a component refused: `rows` of a transform, an encoder or a sink, or `name` and `data` of a decoder.
Rejection = namedtuple("Rejection", "code reason rows name data")


class Test:
    """The engine of a test: opens a component and notes what it is told.

        run = engine.Test("transform", "shout", {"column": "name"})
        assert run.transform([{"name": "a"}]) == [{"name": "A"}]
        assert run.rejected == [] and run.filtered == 0

    Rows go through the same JSON as in the engine. `columns` of a stream may be
    left out: they then follow from the first row that has a value.
    """

    # Not a case of pytest's, although its name begins like one.
    __test__ = False

    def __init__(self, kind, name, config, folder="."):
        self.rejected, self.logged, self.receipts, self.remembered = [], [], [], None
        self.filtered = self.records = 0
        self.cancel = False
        #: What `fetch` answers, by address: Response(200, {}, b"…").
        self.responses = {}
        self._use()
        self._open = _Open(kind, name, json.dumps({"config": config, "folder": str(folder)}))
        self._use()

    def _use(self):
        global _host, _open
        _host = _TestHost(self)
        _open = getattr(self, "_open", None)

    def _batch(self, rows):
        return _rows_text(rows)

    def check(self):
        self._use()
        return json.loads(self._open.check())["summary"]

    def read(self, cursor=None):
        """All rows of one run, and the next run's cursor."""
        self._use()
        plan = json.loads(self._open.plan(json.dumps({"cursor": cursor})))
        rows = []
        for split in plan["splits"]:
            output = _Rows.of(self._open.read(json.dumps(split)))
            while (batch := self._open.next()) is not None:
                rows += map(output.row, output.read(batch))
        return rows, plan.get("upper")

    def transform(self, rows, columns=None):
        self._use()
        output = _Rows.of(self._open.start_transform(_Rows(_columns_of(rows, columns)).schema()))
        batches = self._open.push_transform(self._batch(rows)) + self._open.finish_transform()
        return [output.row(row) for batch in batches for row in output.read(batch)]

    def decode(self, data, name="test", piece_bytes=PIECE_BYTES):
        """The rows of one file, which comes in pieces."""
        self._use()
        output = _Rows.of(self._open.start_format("decode", _Rows(_FILES).schema()))
        batches, data = [], _bytes(data)
        for at in range(0, max(len(data), 1), piece_bytes):
            batches += self._open.push_format(self._batch([{"name": name, "data": data[at : at + piece_bytes]}]))
        batches += self._open.finish_format()
        return [output.row(row) for batch in batches for row in output.read(batch)]

    def encode(self, rows, columns=None):
        """The bytes of the file."""
        self._use()
        output = _Rows.of(self._open.start_format("encode", _Rows(_columns_of(rows, columns)).schema()))
        batches = self._open.push_format(self._batch(rows)) + self._open.finish_format()
        return b"".join(output.row(row)["data"] for batch in batches for row in output.read(batch))

    def write(self, key, input, columns=None):
        """Makes a delivery ready: rows, or the bytes of one file. False: it has arrived before."""
        self._use()
        self.delivery = {"key": key, "state": "s", "pipeline": "p", "sink": "k", "window": 1, "split": "0000"}
        self._open.begin_run(json.dumps({**self.delivery, "splits": ["0000"]}))
        delivery = json.dumps(self.delivery)
        if json.loads(self._open.begin_split(delivery))["status"] == "committed":
            return False
        files = isinstance(input, (bytes, str))
        rows = [{"name": "", "data": _bytes(input)}] if files else input
        self._open.start_write(delivery, _Rows(_FILES if files else _columns_of(rows, columns)).schema())
        self._open.push_write(self._batch(rows))
        self.delivery["sealed"] = json.loads(self._open.finish_write())
        return True

    def commit(self):
        """Publishes what `write` made ready; the receipt."""
        self._use()
        return json.loads(self._open.commit(json.dumps(self.delivery)))

    def abort(self):
        self._use()
        self._open.abort(json.dumps(self.delivery))


class _TestHost:
    def __init__(self, test):
        self.test = test

    def log(self, level, message):
        self.test.logged.append((level, message))

    def cancelled(self):
        return self.test.cancel

    def fetch(self, url, method, headers, body):
        if url not in self.test.responses:
            raise Error("unavailable", f"the test has no response for {url}")
        return self.test.responses[url]

    def deadline(self):
        return None

    def progress(self, records, bytes):
        self.test.records += records

    def filtered(self, rows):
        self.test.filtered += rows

    def reject_record(self, code, reason, name, data):
        self.test.rejected.append(Rejection(code, reason, None, name, data))

    def reject_rows(self, code, reason, rows):
        self.test.rejected.append(Rejection(code, reason, json.loads(rows), None, None))

    def receipt(self, part):
        self.test.receipts.append(json.loads(part))

    def remember(self, value):
        self.test.remembered = json.loads(value)


def _columns_of(rows, columns):
    if columns is not None:
        return _column_list(columns)
    types = {bool: "boolean", int: "integer", float: "number", bytes: "binary", Decimal: "decimal(38,9)"}
    found = {}
    for row in rows:
        for name, value in row.items():
            if found.get(name) is None:
                found[name] = None if value is None else types.get(type(value), "text")
    return _column_list({name: kind or "text" for name, kind in found.items()})


if _wit_host:
    # Inside the built module this file is the main one; it brings in the author's.
    import component  # noqa: E402, F401
