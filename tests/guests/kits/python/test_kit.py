"""Tests of the kit itself: `python3 -m unittest discover -s tests`, beside `kit`."""

import json
import os
import sys
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "kit"))

import engine_plugin as engine  # noqa: E402


@engine.transform("same", summary="Changes nothing", scope="row")
class Same:
    def transform(self, row):
        if row.get("text") == "refuse":
            raise engine.Reject("refused", "as asked")
        if row.get("text") == "number":
            return 5
        if row.get("text") == "columns":
            return {**row, "other": 1}
        return None if row.get("text") == "leave out" else row


@engine.source("files", summary="Gives a large file", gives="files")
class Files:
    def plan(self, cursor):
        return [{}], None

    def read(self, split):
        yield "large", b"x" * (2 * engine.PIECE_BYTES + 1)
        yield "empty", b""


@engine.format("whole", summary="Whole files", columns={"size": "integer"})
class Whole:
    def decode(self, name, data):
        if data == b"bad":
            engine.reject_record("bad", "as asked", name, data)
        else:
            yield {"size": len(data)}


@engine.format("lines", summary="Lines", columns={"line": "text"})
class Lines:
    def decode_line(self, line):
        return None if line.startswith("#") else {"line": line}


@engine.sink(
    "list",
    summary="Keeps rows in a list",
    settings={
        "limit": engine.integer("Up to which n.", default=None),
        "mode": engine.text("How.", default="a", choices=["a", "b"]),
    },
)
class List:
    def write(self, rows):
        bad = [row for row in rows if row["n"] > 2]
        if bad:
            engine.reject_rows("too_large", "more than 2", bad)

    def commit(self, delivery):
        return {"rows": delivery["sealed"]["rows"], "location": "a list"}


class Rows(unittest.TestCase):
    def through(self, type, text):
        """One value of a column, as JSON, through a transform that changes nothing."""
        run = engine.Test("transform", "same", {})
        run._open.start_transform(json.dumps({"columns": [{"name": "value", "type": type}]}).encode())
        (batch,) = run._open.push_transform(b'[{"value":%s}]' % text.encode())
        return batch.decode()[10:-2]

    def test_no_digit_is_lost(self):
        for number in ["9223372036854775807", "-9223372036854775808", "18446744073709551615"]:
            self.assertEqual(self.through("integer", number), number)
            self.assertEqual(self.through("UInt64", f'"{number}"'), number)
        self.assertEqual(
            self.through("decimal(38,9)", "12345678901234567890.123456789"), '"12345678901234567890.123456789"'
        )
        self.assertEqual(self.through("decimal(38,9)", "5"), '"5"')
        self.assertEqual(self.through("number", "0.1"), "0.1")

    def test_a_decimal_of_any_size_is_a_text(self):
        run = engine.Test("transform", "same", {})
        run._open.start_transform(b'{"columns": [{"name": "value", "type": "decimal(38,0)"}]}')
        written = run._open.output.write([{"value": 2**70}])
        self.assertEqual(written, b'[{"value":"1180591620717411303424"}]')

    def test_what_json_has_no_number_for_stays(self):
        for word in ['"NaN"', '"Infinity"', '"-Infinity"']:
            self.assertEqual(self.through("number", word), word)
        self.assertEqual(self.through("number", '"-inf"'), '"-Infinity"')

    def test_bytes_and_lists_stay(self):
        self.assertEqual(self.through("binary", '"AP8="'), '"AP8="')
        self.assertEqual(self.through("list(Int64)", "[1,null]"), "[1,null]")
        self.assertEqual(self.through("text", '"Grüße \\u0000 🦀"'), '"Grüße \\u0000 🦀"')

    def test_types_are_those_of_python(self):
        rows = engine.Test("transform", "same", {}).transform([{"a": Decimal("1.50"), "b": b"\x00", "c": None}])
        self.assertEqual(rows, [{"a": Decimal("1.50"), "b": b"\x00", "c": None}])

    def test_rows_add_up(self):
        run = engine.Test("transform", "same", {})
        rows = run.transform([{"text": text} for text in ["refuse", "leave out", "stay"]])
        self.assertEqual((rows, run.filtered, run.rejected[0].rows), ([{"text": "stay"}], 1, [{"text": "refuse"}]))


class Kinds(unittest.TestCase):
    def test_a_large_file_comes_in_pieces(self):
        rows, _ = engine.Test("source", "files", {}).read()
        self.assertEqual(
            [(row["name"], len(row["data"])) for row in rows],
            [("large", engine.PIECE_BYTES), ("large", engine.PIECE_BYTES), ("large", 1), ("empty", 0)],
        )

    def test_a_whole_file_is_decoded_at_its_end(self):
        run = engine.Test("format", "whole", {})
        self.assertEqual(run.decode(b"12345", piece_bytes=2), [{"size": 5}])
        self.assertEqual((run.decode(b"bad"), run.records, len(run.rejected)), ([], 2, 1))

    def test_lines_that_hold_no_record_are_not_counted_and_long_ones_are_refused(self):
        run = engine.Test("format", "lines", {})
        long = b"x" * (engine.LONGEST_LINE_BYTES + 1)
        self.assertEqual(run.decode(b"#\na\r\n" + long + b"\nb"), [{"line": "a"}, {"line": "b"}])
        self.assertEqual((run.records, [it.code for it in run.rejected]), (3, ["too_long"]))

    def test_a_sink_counts_what_it_took(self):
        run = engine.Test("sink", "list", {})
        self.assertTrue(run.write("key", [{"n": 1}, {"n": 2}, {"n": 3}]))
        self.assertEqual(run.commit()["rows"], 2)

    def test_wrong_settings_are_named(self):
        for config, message in [
            ({"limit": "x"}, "`limit` must be of the type integer or null"),
            ({"limt": 1}, "unknown setting `limt`"),
            ({"mode": "c"}, "`mode` must be one of a, b"),
            ([], "the configuration must be of the type object"),
        ]:
            with self.assertRaises(engine.Error) as raised:
                engine.Test("sink", "list", config)
            self.assertEqual((raised.exception.kind, raised.exception.message), ("config", message))


class Errors(unittest.TestCase):
    def test_a_method_that_is_missing_is_named_when_the_module_is_built(self):
        with self.assertRaisesRegex(TypeError, "the transform `x` needs a method `transform` or `push`"):

            @engine.transform("x", summary="Misspelt")
            class Misspelt:
                def transfrom(self, row):
                    return row

    def test_what_is_returned_instead_of_a_row_is_named(self):
        for text, message in [("number", "transform() returned int"), ("columns", "`other`, which was not declared")]:
            with self.assertRaises(engine.Error) as raised:
                engine.Test("transform", "same", {}).transform([{"text": text}])
            self.assertIn(message, raised.exception.message)
            self.assertTrue(raised.exception.hint)

    def test_any_exception_has_a_kind_and_a_place(self):
        def error(exception):
            try:
                raise exception
            except Exception as raised:
                return engine._as_error(raised)

        self.assertEqual(error(FileNotFoundError("x")).kind, "config")
        self.assertEqual(error(PermissionError("x")).kind, "denied")
        self.assertEqual(error(ConnectionResetError("x")).kind, "unavailable")
        self.assertRegex(error(ValueError("x")).message, r"^ValueError: x \(test_kit.py:\d+, in error\)$")


if __name__ == "__main__":
    unittest.main()
