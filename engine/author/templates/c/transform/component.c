/* Brings phone numbers into one form: `+`, country and digits. */
#include <string.h>

#include "engine_plugin.h"

static const char *column, *country;

static EngineStatus open_it(const EngineValue *config) {
  column = engine_text(engine_member(config, "column"), "");
  country = engine_text(engine_member(config, "country"), "");
  return ENGINE_OK;
}

static EngineStatus start(EngineValue *columns) {
  return engine_column_type(columns, column) == NULL ? engine_no_column(columns, column) : ENGINE_OK;
}

static EngineStatus transform(EngineValue *row) {
  const char *number = engine_text(engine_member(row, column), NULL);
  if (number == NULL) return ENGINE_OK;
  EngineBuffer digits = {0};
  for (const char *at = number; *at != '\0'; at++) {
    if (strchr(" ()/.-", *at) == NULL) engine_put(&digits, at, 1);
  }
  const char *bare = digits.length == 0 ? "" : digits.data;
  const char *abroad = *bare == '+' ? bare + 1 : strncmp(bare, "00", 2) == 0 ? bare + 2 : NULL;
  const char *rest = abroad != NULL ? abroad : *bare == '0' ? bare + 1 : bare;
  if (strlen(rest) < 5 || strlen(rest) > 15 || strspn(rest, "0123456789") != strlen(rest) || *rest == '0') {
    return engine_reject("bad_number", "`%s` in `%s` is no phone number", number, column);
  }
  engine_set(row, column, engine_new_format("+%s%s", abroad == NULL && *bare == '0' ? country : "", rest));
  return ENGINE_OK;
}

static const EngineSetting settings[] = {
    {.name = "column", .type = "text", .description = "The text column with the numbers."},
    {.name = "country", .type = "text", .description = "What replaces a leading 0, such as 49.", .otherwise = "\"49\""},
    {0},
};

const EngineComponent engine_component = {
    .name = "{{name}}",
    .summary = "Brings phone numbers into one form",
    .settings = settings,
    .example = "{\"column\": \"caller\"}",
    .open = open_it,
    .start = start,
    .transform = transform,
};
