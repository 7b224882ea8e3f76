/* Run with `make test`. Needs no engine. */
#include "engine_plugin.h"

static void every_run_goes_on_where_the_last_one_ended_and_the_last_one_finds_nothing(void) {
  engine_test_open("{'to': 3, 'per_run': 2}", ".");
  engine_test_same(engine_test_read("null"),
                   "{'rows':[{'n':1,'text':'number 1'},{'n':2,'text':'number 2'}],'upper':2}");
  engine_test_same(engine_test_read("2"), "{'rows':[{'n':3,'text':'number 3'}],'upper':3}");
  engine_test_same(engine_test_read("3"), "{'rows':[],'upper':3}");
}

static void it_stops_when_it_is_asked_to(void) {
  engine_test_open("{'to': 10}", ".");
  engine_test_cancel();
  engine_test_same(engine_test_read("null"), "cancelled: stopped on request");
}

int main(void) {
  every_run_goes_on_where_the_last_one_ended_and_the_last_one_finds_nothing();
  it_stops_when_it_is_asked_to();
  return 0;
}
