"""Run with `python3 -m unittest`. Needs no engine."""

import os
import tempfile
import unittest

import component  # noqa: F401
import engine_plugin as engine


class FolderTest(unittest.TestCase):
    def test_nothing_is_seen_before_commit_and_a_second_start_finds_it_there(self):
        with tempfile.TemporaryDirectory() as folder:
            published = os.path.join(folder, "s.calls.box.1.0000")
            run = engine.Test("sink", "{{name}}", {"folder": "."}, folder)
            self.assertTrue(run.write("s/calls/box/1/0000", b"one,two\n"))
            self.assertFalse(os.path.exists(published))
            self.assertEqual(run.commit(), {"location": published, "bytes": 8})
            again = engine.Test("sink", "{{name}}", {"folder": "."}, folder)
            self.assertFalse(again.write("s/calls/box/1/0000", b"one,two\n"))

    def test_an_abort_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            run = engine.Test("sink", "{{name}}", {"folder": "."}, folder)
            run.write("s/calls/box/1/0000", b"one")
            run.abort()
            run.abort()
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main()
