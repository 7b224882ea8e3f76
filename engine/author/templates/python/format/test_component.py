"""Run with `python3 -m unittest`. Needs no engine."""

import unittest

import component  # noqa: F401
import engine_plugin as engine


class KeyValuesTest(unittest.TestCase):
    def setUp(self):
        self.engine = engine.Test("format", "{{name}}", {"columns": {"caller": "text", "seconds": "integer"}})

    def test_what_is_written_is_read_back_the_same(self):
        rows = [{"caller": "a\tb\\n\nc", "seconds": 7}, {"caller": None, "seconds": None}, {"caller": "", "seconds": 0}]
        self.assertEqual(self.engine.decode(self.engine.encode(rows)), rows)
        self.assertEqual(self.engine.records, 3)

    def test_a_file_may_be_cut_anywhere(self):
        file = b"caller=Gr\xc3\xbc\xc3\x9fe\r\nseconds=7"
        for size in range(1, len(file)):
            rows = self.engine.decode(file, piece_bytes=size)
            self.assertEqual(rows, [{"caller": "Grüße", "seconds": None}, {"caller": None, "seconds": 7}])

    def test_a_line_that_cannot_be_read_is_kept_and_counted(self):
        rows = self.engine.decode(b"seconds=x\nseconds=1\nnumber=1\n\xff\n")
        self.assertEqual(rows, [{"caller": None, "seconds": 1}])
        self.assertEqual([it.code for it in self.engine.rejected], ["bad_integer", "unknown_key", "not_utf8"])
        self.assertEqual(self.engine.rejected[0].data, b"seconds=x\n")
        self.assertEqual(self.engine.records, 4)


if __name__ == "__main__":
    unittest.main()
