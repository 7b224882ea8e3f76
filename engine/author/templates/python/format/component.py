r"""Lines of `key=value`, with a tab between two of them; `\t`, `\n`, `\r` and `\\` stand in values."""

import re

import engine_plugin as engine

PLAIN = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}
ESCAPES = str.maketrans({character: escape for escape, character in PLAIN.items()})


@engine.format(
    "{{name}}",
    summary="Lines of key=value",
    settings={"columns": engine.mapping("Reading: the columns by name, and their types.", default={})},
    examples={"calls": {"columns": {"caller": "text", "seconds": "integer"}}},
)
class KeyValues:
    def open(self, config):
        self.types = config["columns"]

    def columns(self):
        return self.types

    def decode_line(self, line):
        row = dict.fromkeys(self.types)
        for field in line.split("\t") if line else []:
            key, found, text = field.partition("=")
            if not found or key not in self.types:
                raise engine.Reject("unknown_key", f"`{field}` is no key with a value, or its key is no column")
            row[key] = engine.from_text(re.sub(r"\\.", lambda it: PLAIN.get(it[0], it[0]), text), self.types[key])
        return row

    def encode_line(self, row):
        texts = {key: engine.to_text(value) for key, value in row.items() if value is not None}
        return "\t".join(f"{key}={text.translate(ESCAPES)}" for key, text in texts.items())
