/* Counts upwards, some numbers a run. */
#include <inttypes.h>

#include "engine_plugin.h"

#define SPLITS 4

static int64_t to, per_run, at, last;

static EngineStatus open_it(const EngineValue *config) {
  to = engine_integer(engine_member(config, "to"), 0);
  per_run = engine_integer(engine_member(config, "per_run"), 0);
  return ENGINE_OK;
}

static EngineStatus plan(const EngineValue *cursor, EngineValue *splits, EngineValue **upper) {
  /* The cursor is the last number of the run before. */
  int64_t before = engine_integer(cursor, 0);
  int64_t left = before < to ? to - before : 0;
  int64_t end = before + (left < per_run ? left : per_run), length = (end - before + SPLITS - 1) / SPLITS;
  for (int64_t first = before; first < end; first += length) {
    EngineValue *split = engine_new_object();
    engine_set(split, "after", engine_new_integer(first));
    engine_set(split, "last", engine_new_integer(first + length < end ? first + length : end));
    engine_append(splits, split);
  }
  *upper = engine_new_integer(end);
  return ENGINE_OK;
}

static EngineStatus read_it(const EngineValue *split) {
  at = engine_integer(engine_member(split, "after"), 0);
  last = engine_integer(engine_member(split, "last"), 0);
  return ENGINE_OK;
}

static EngineStatus next(EngineValue *row) {
  if (at >= last) return ENGINE_END;
  engine_set(row, "n", engine_new_integer(++at));
  engine_set(row, "text", engine_new_format("number %" PRId64, at));
  return ENGINE_OK;
}

static const EngineSetting settings[] = {
    {.name = "to", .type = "integer", .description = "The last number; the first one is 1.", .minimum = "1"},
    {.name = "per_run",
     .type = "integer",
     .description = "At most this many numbers in one run.",
     .otherwise = "1000000",
     .minimum = "1"},
    {0},
};
static const EngineColumn columns[] = {{"n", "integer"}, {"text", "text"}, {0}};

const EngineComponent engine_component = {
    .name = "{{name}}",
    .summary = "Counts upwards, some numbers a run",
    .settings = settings,
    .example = "{\"to\": 10}",
    .members = "{\"repeatable\": true}",
    .columns = columns,
    .open = open_it,
    .plan = plan,
    .read = read_it,
    .next = next,
};
