/* Lines of `key=value`, with a tab between two of them; `\t`, `\n`, `\r` and `\\` stand in values. */
#include <string.h>

#include "engine_plugin.h"

static const char letters[] = "\\tnr", meant[] = "\\\t\n\r";
static const EngineValue *types;

static EngineStatus open_it(const EngineValue *config) {
  types = engine_member(config, "columns");
  return ENGINE_OK;
}

static EngineStatus give_columns(EngineValue *columns) {
  for (size_t at = 0; at < engine_count(types); at++) {
    engine_add_column(columns, engine_name(types, at), engine_text(engine_item(types, at), ""));
  }
  return ENGINE_OK;
}

static EngineStatus decode_field(const char *field, size_t length, EngineValue *row) {
  const char *equals = memchr(field, '=', length);
  EngineValue *key = engine_new_text_bytes(field, equals == NULL ? 0 : (size_t)(equals - field)), *value;
  const char *name = engine_text(key, ""), *type = engine_text(engine_member(types, name), NULL);
  if (equals == NULL || type == NULL) {
    return engine_reject("unknown_key", "`%.*s` is no key with a value, or its key is no column", (int)length, field);
  }
  EngineBuffer text = {0};
  for (const char *at = equals + 1; at < field + length; at++) {
    const char *escape = *at == '\\' && at + 1 < field + length && at[1] != '\0' ? strchr(letters, at[1]) : NULL;
    engine_put(&text, escape == NULL ? at : &meant[escape - letters], 1);
    at += escape != NULL;
  }
  EngineStatus status = engine_from_text((EngineBytes){text.data, text.length}, type, &value);
  if (status == ENGINE_OK) engine_set(row, name, value);
  return status;
}

static EngineStatus decode_line(EngineBytes line, EngineValue *row) {
  const char *end = line.data + line.length;
  for (const char *at = line.data; at < end;) {
    const char *tab = memchr(at, '\t', (size_t)(end - at));
    EngineStatus status = decode_field(at, (size_t)((tab == NULL ? end : tab) - at), row);
    if (status != ENGINE_OK) return status;
    at = tab == NULL ? end : tab + 1;
  }
  return ENGINE_OK;
}

static EngineStatus encode_line(const EngineValue *row, EngineBuffer *line) {
  const char *between = "";
  for (size_t at = 0; at < engine_count(row); at++) {
    if (engine_is_null(engine_item(row, at))) continue;
    engine_print(line, "%s%s=", between, engine_name(row, at));
    between = "\t";
    EngineBytes text = engine_text_bytes(engine_item(row, at));
    for (size_t next = 0; next < text.length; next++) {
      const char *escape = text.data[next] == '\0' ? NULL : strchr(meant, text.data[next]);
      if (escape != NULL) engine_put(line, "\\", 1);
      engine_put(line, escape == NULL ? text.data + next : &letters[escape - meant], 1);
    }
  }
  return ENGINE_OK;
}

static const EngineSetting settings[] = {
    {.name = "columns",
     .type = "mapping",
     .description = "Reading: the columns by name, and their types.",
     .otherwise = "{}"},
    {0},
};

const EngineComponent engine_component = {
    .name = "{{name}}",
    .summary = "Lines of key=value",
    .settings = settings,
    .example = "{\"columns\": {\"caller\": \"text\", \"seconds\": \"integer\"}}",
    .open = open_it,
    .give_columns = give_columns,
    .decode_line = decode_line,
    .encode_line = encode_line,
};
