/* Run with `make test`. Needs no engine. */
#include <stdlib.h>
#include <unistd.h>

#include "engine_plugin.h"

static void nothing_is_seen_before_commit_and_a_second_start_finds_it_there(void) {
  engine_test_open("{'folder': '.'}", ".");
  engine_test_same(engine_test_write("s/calls/box/1/0000", "one,two\n"), "ready");
  engine_test_same(access("s.calls.box.1.0000", F_OK) == 0 ? "seen" : "not seen", "not seen");
  engine_test_same(engine_test_commit(), "{'location':'./s.calls.box.1.0000','bytes':8}");
  engine_test_open("{'folder': '.'}", ".");
  engine_test_same(engine_test_write("s/calls/box/1/0000", "one,two\n"), "committed");
}

static void an_abort_leaves_nothing_behind(void) {
  engine_test_open("{'folder': '.'}", ".");
  engine_test_same(engine_test_write("s/calls/box/2/0000", "one"), "ready");
  engine_test_abort();
  engine_test_abort();
  engine_test_same(access(".s.calls.box.2.0000.part", F_OK) == 0 ? "there" : "gone", "gone");
}

int main(void) {
  char folder[] = "/tmp/engine-XXXXXX";
  if (mkdtemp(folder) == NULL || chdir(folder) != 0) return 1;
  nothing_is_seen_before_commit_and_a_second_start_finds_it_there();
  an_abort_leaves_nothing_behind();
  return unlink("s.calls.box.1.0000") != 0 || rmdir(folder) != 0;
}
