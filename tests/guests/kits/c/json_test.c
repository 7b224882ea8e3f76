/*
 * Tests of the kit's own JSON: what is read is written the same, what is not JSON is
 * refused, and random texts neither crash it nor change when they are read again.
 *
 *   cc -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined -I../kit -o json_test json_test.c -lm && ./json_test
 */
#define ENGINE_TEST 1
#include "engine_plugin.c"
const EngineComponent engine_component = {.name = "x"};
static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}
static void same(const char *in, const char *out) {
  EngineValue *v = parse((EngineBytes){in, strlen(in)});
  const char *got = v ? engine_json(v) : "refused";
  if (strcmp(got, out)) {
    printf("%s -> %s instead of %s\n", in, got, out);
    exit(1);
  }
}
int main(void) {
  same("{\"a\":[1,2.50,-0,1e5,123456789012345678901234567890.123],\"b\":{\"c\":null},\"d\":true,\"e\":false}",
       "{\"a\":[1,2.50,-0,1e5,123456789012345678901234567890.123],\"b\":{\"c\":null},\"d\":true,\"e\":false}");
  same("\"\\ud83e\\udd80 \\u00fc\\n\\/\\\"\"", "\"\xF0\x9F\xA6\x80 \xC3\xBC\\u000a/\\\"\"");
  same("\"\\u0000x\"", "\"\\u0000x\"");
  same("\"\\ud83e\"", "refused");
  same("\"\\ud83e\\u0041\"", "refused");
  same("\"\\udd80\"", "refused");
  same("\"\\x\"", "refused");
  same("\"abc", "refused");
  same("\"abc\\", "refused");
  same("\"abc\\\"", "refused");
  same("[1,]", "refused");
  same("{\"a\" 1}", "refused");
  same("[1 2]", "refused");
  same("01", "refused");
  same("-", "refused");
  same("1.", "refused");
  same("", "refused");
  same("nul", "refused");
  same("[", "refused");
  same("[]x", "refused");
  same(" [ ] ", "[]");
  same("{,}", "refused");
  same("[,1]", "refused");
  char deep[600];
  memset(deep, '[', 300);
  memset(deep + 300, ']', 300);
  deep[599] = 0;
  same(deep, "refused");
  EngineValue *v;
  const char *good[][3] = {{"007", "integer", "7"},     {"-007.50", "number", "-7.50"}, {"000", "decimal(3,1)", "0"},
                           {"-0", "number", "-0"},      {"0.5", "number", "0.5"},       {"NaN", "number", "\"NaN\""},
                           {"true", "boolean", "true"}, {"x", "text", "\"x\""}};
  for (int k = 0; k < 8; k++) {
    if (engine_from_text((EngineBytes){good[k][0], strlen(good[k][0])}, good[k][1], &v) != ENGINE_OK ||
        strcmp(engine_json(v), good[k][2])) {
      puts(good[k][0]);
      return 8;
    }
  }
  const char *bad[][2] = {
      {"", "integer"},  {"", "number"},          {"x", "number"},     {"1 ", "integer"},
      {"1.", "number"}, {"NaN", "decimal(3,1)"}, {"TRUE", "boolean"}, {"9223372036854775808", "integer"}};
  for (int k = 0; k < 8; k++)
    if (engine_from_text((EngineBytes){bad[k][0], strlen(bad[k][0])}, bad[k][1], &v) != ENGINE_REFUSED) {
      puts(bad[k][0]);
      return 9;
    }
  v = parse_literal("9223372036854775807");
  if (engine_integer(v, 0) != INT64_MAX)
    return 2;
  v = parse_literal("-9223372036854775808");
  if (engine_integer(v, 0) != INT64_MIN)
    return 3;
  v = parse_literal("9223372036854775808");
  if (engine_integer(v, 5) != 5)
    return 4;
  if (strcmp(engine_json(engine_new_number(0.1)), "0.1") ||
      strcmp(engine_json(engine_new_number(1.0 / 3)), "0.3333333333333333") ||
      strcmp(engine_json(engine_new_number(1e300)), "1e+300"))
    return 5;
  for (int n = 0; n < 5000; n++) {
    unsigned char raw[67];
    size_t l = rnd() % 67;
    for (size_t i = 0; i < l; i++) raw[i] = (unsigned char)rnd();
    EngineValue *b = engine_new_binary(raw, l);
    EngineBytes back = engine_binary(b);
    if (back.length != l || memcmp(back.data, raw, l))
      return 6;
    clear(&of_call);
  }
  static const char alphabet[] = "{}[]\",:\\u0dDfFnte1-+.E 9\t\x80\xc3\xbc";
  const char *seedtext = "{\"a\":[1,\"\\ud83e\\udd80\",{\"b\":null}],\"c\":-1.5e3}";
  for (int n = 0; n < 300000; n++) {
    char *text = malloc(64);
    size_t l = rnd() % 64;
    if (n % 2) {
      l = strlen(seedtext);
      memcpy(text, seedtext, l);
      for (int k = 0; k < 3; k++) text[rnd() % l] = alphabet[rnd() % (sizeof alphabet - 1)];
      l -= rnd() % 3;
    } else
      for (size_t i = 0; i < l; i++) text[i] = alphabet[rnd() % (sizeof alphabet - 1)];
    char *exact = malloc(l ? l : 1);
    memcpy(exact, text, l);
    EngineValue *p = parse((EngineBytes){exact, l});
    if (p) {
      EngineBytes once = json_of(p);
      EngineValue *q = parse(once);
      EngineBytes twice = json_of(q);
      if (!q || once.length != twice.length || memcmp(once.data, twice.data, once.length)) {
        printf("%.*s\n", (int)l, exact);
        return 7;
      }
    }
    utf8_length((EngineBytes){exact, l});
    free(text);
    free(exact);
    clear(&of_call);
  }
  puts("json ok");
  return 0;
}
