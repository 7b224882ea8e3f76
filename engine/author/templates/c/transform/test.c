/* Run with `make test`. Needs no engine. */
#include "engine_plugin.h"

static void every_way_to_write_a_number_becomes_the_same(void) {
  engine_test_same(engine_test_transform("[{'caller': '030 / 123-456'}]"), "[{'caller':'+4930123456'}]");
  engine_test_same(engine_test_transform("[{'caller': '+49 30 123456'}]"), "[{'caller':'+4930123456'}]");
  engine_test_same(engine_test_transform("[{'caller': '0049 (30) 123456'}]"), "[{'caller':'+4930123456'}]");
}

static void what_is_no_number_is_refused_and_its_neighbours_go_on(void) {
  engine_test_same(engine_test_transform("[{'caller': 'unknown'}, {'caller': '030123456'}]"),
                   "[{'caller':'+4930123456'}]");
  engine_test_same(engine_test_codes(), "bad_number");
}

static void a_column_that_is_not_there_is_a_mistake_of_the_configuration(void) {
  engine_test_same(engine_test_transform("[{'number': '1'}]"), "config: there is no column `caller`");
}

int main(void) {
  engine_test_open("{'column': 'caller'}", ".");
  every_way_to_write_a_number_becomes_the_same();
  what_is_no_number_is_refused_and_its_neighbours_go_on();
  a_column_that_is_not_there_is_a_mistake_of_the_configuration();
  return 0;
}
