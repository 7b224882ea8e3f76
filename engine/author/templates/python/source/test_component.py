"""Run with `python3 -m unittest`. Needs no engine."""

import unittest

import component  # noqa: F401
import engine_plugin as engine


class NumbersTest(unittest.TestCase):
    def test_every_run_goes_on_where_the_last_one_ended_and_the_last_one_finds_nothing(self):
        run = engine.Test("source", "{{name}}", {"to": 10, "per_run": 7})
        rows, cursor = run.read()
        self.assertEqual([row["n"] for row in rows], [1, 2, 3, 4, 5, 6, 7])
        rows, cursor = run.read(cursor)
        self.assertEqual([row["n"] for row in rows], [8, 9, 10])
        self.assertEqual(run.read(cursor), ([], 10))

    def test_it_stops_when_it_is_asked_to(self):
        run = engine.Test("source", "{{name}}", {"to": 10})
        run.cancel = True
        with self.assertRaises(engine.Error) as raised:
            run.read()
        self.assertEqual(raised.exception.kind, "cancelled")


if __name__ == "__main__":
    unittest.main()
