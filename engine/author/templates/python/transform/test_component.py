"""Run with `python3 -m unittest`. Needs no engine."""

import unittest

import component  # noqa: F401
import engine_plugin as engine


class PhoneNumbersTest(unittest.TestCase):
    def setUp(self):
        self.engine = engine.Test("transform", "{{name}}", {"column": "caller"})

    def test_every_way_to_write_a_number_becomes_the_same(self):
        for written in ["030 / 123-456", "+49 30 123456", "0049 (30) 123456"]:
            self.assertEqual(self.engine.transform([{"caller": written}]), [{"caller": "+4930123456"}])

    def test_what_is_no_number_is_refused_and_its_neighbours_go_on(self):
        rows = self.engine.transform([{"caller": "unknown"}, {"caller": None}])
        self.assertEqual(rows, [{"caller": None}])
        self.assertEqual(self.engine.rejected[0].code, "bad_number")
        self.assertEqual(self.engine.rejected[0].rows, [{"caller": "unknown"}])

    def test_a_column_that_is_not_there_is_a_mistake_of_the_configuration(self):
        with self.assertRaises(engine.Error) as raised:
            self.engine.transform([{"number": "1"}])
        self.assertEqual(raised.exception.kind, "config")


if __name__ == "__main__":
    unittest.main()
