/* Run with `make test`. Needs no engine. */
#include <string.h>

#include "engine_plugin.h"

static void what_is_written_is_read_back_the_same(void) {
  const char *rows = "[{\"caller\":\"a\\tb\\\\n\\u000ac\",\"seconds\":7},{},{\"caller\":\"\",\"seconds\":0}]";
  const char *file = engine_test_encode(rows);
  engine_test_same(file, "caller=a\\tb\\\\n\\nc\tseconds=7\n\ncaller=\tseconds=0\n");
  engine_test_same(engine_test_decode(file, 1000),
                   "[{\"caller\":\"a\\u0009b\\\\n\\u000ac\",\"seconds\":7},{},{\"caller\":\"\",\"seconds\":0}]");
}

static void a_file_may_be_cut_anywhere(void) {
  const char *file = "caller=Gr\xC3\xBC\xC3\x9F\x65\r\nseconds=7";
  for (size_t size = 1; size < strlen(file); size++) {
    engine_test_same(engine_test_decode(file, size), "[{'caller':'Gr\xC3\xBC\xC3\x9F\x65'},{'seconds':7}]");
  }
}

static void a_line_that_cannot_be_read_is_kept(void) {
  engine_test_same(engine_test_decode("seconds=x\nseconds=1\nnumber=1\n\xFF\n", 1000), "[{'seconds':1}]");
  engine_test_same(engine_test_codes(), "bad_integer unknown_key not_utf8");
}

int main(void) {
  engine_test_open("{'columns': {'caller': 'text', 'seconds': 'integer'}}", ".");
  what_is_written_is_read_back_the_same();
  a_file_may_be_cut_anywhere();
  a_line_that_cannot_be_read_is_kept();
  return 0;
}
