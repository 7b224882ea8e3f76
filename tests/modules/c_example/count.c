/*
 * count.c: the source `c_count`. It gives the rows 1, 2, 3 … with the columns
 * `n` (int64) and `text` (utf8), cut into splits that can be read in any order.
 *
 * What to look at: `plan` puts all that `read` needs into the split itself;
 * `read` answers at once, and the rows are made when the engine pulls them; a
 * batch owns its buffers and frees them when the engine releases it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "example.h"

#define BATCH_ROWS 1024
/* "row " and up to 19 digits. */
#define TEXT_ROOM 24
/* Splits of one window; more would make the plan itself large. */
#define MOST_SPLITS 1000

struct EngineInstance {
  const EngineHost *host;
  int64_t rows;
  int64_t split_rows;
  Failure failure;
};

static EngineStatus describe(EngineReply reply) {
  put(reply,
      "{\"summary\": \"Counts from 1 upwards\","
      " \"gives\": \"rows\", \"repeatable\": true,"
      " \"schema\": {"
      "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\","
      "  \"type\": \"object\", \"additionalProperties\": false, \"required\": [\"rows\"],"
      "  \"properties\": {"
      "   \"rows\": {\"type\": \"integer\", \"minimum\": 0, \"description\": \"How many rows to give.\"},"
      "   \"split_rows\": {\"type\": \"integer\", \"minimum\": 1, \"default\": 10000,"
      "    \"description\": \"Rows of one split; at most 1000 splits are made.\"}}},"
      " \"examples\": [{\"title\": \"three splits\", \"config\": {\"rows\": 25000}}]}");
  return ENGINE_OK;
}

/* Reads `{"rows": …, "split_rows": …}`. The engine has checked it against the schema; a module that
 * is loaded by something else still must not misbehave. */
static EngineStatus read_config(EngineInstance *instance, Json *at) {
  static const char hint[] = "write for example {rows: 1000}";
  char name[32];
  int found;
  if (!json_enter(at)) return fail(&instance->failure, ENGINE_CONFIG, "the configuration is not an object", hint);
  while ((found = json_member(at, name, sizeof name)) == 1) {
    int64_t *place = strcmp(name, "rows") == 0         ? &instance->rows
                     : strcmp(name, "split_rows") == 0 ? &instance->split_rows
                                                       : NULL;
    char message[96];
    if (place == NULL) {
      snprintf(message, sizeof message, "unknown setting `%s`", name);
      return fail(&instance->failure, ENGINE_CONFIG, message, "the settings are rows and split_rows");
    }
    if (!json_integer(at, place) || *place < (place == &instance->rows ? 0 : 1)) {
      snprintf(message, sizeof message, "`%s` is not a whole number of rows", name);
      return fail(&instance->failure, ENGINE_CONFIG, message, hint);
    }
  }
  if (found < 0) return fail(&instance->failure, ENGINE_CONFIG, "the configuration is not JSON", hint);
  if (instance->rows < 0) return fail(&instance->failure, ENGINE_CONFIG, "`rows` is missing", hint);
  return ENGINE_OK;
}

static EngineStatus open_it(const EngineHost *host, EngineText request, EngineInstance **out) {
  EngineInstance *instance = calloc(1, sizeof *instance);
  /* Set before anything can fail: the engine asks the instance why, and closes it. */
  *out = instance;
  if (instance == NULL) return ENGINE_UNAVAILABLE;
  instance->host = host;
  instance->rows = -1;
  instance->split_rows = 10000;

  Json at = json(request);
  char name[32];
  if (!json_enter(&at)) return fail(&instance->failure, ENGINE_INTERNAL, "the request is not an object", "");
  while (json_member(&at, name, sizeof name) == 1) {
    if (strcmp(name, "config") == 0) return read_config(instance, &at);
    /* Members that this version does not know are skipped, so that new ones can be added. */
    if (!json_skip(&at)) break;
  }
  return fail(&instance->failure, ENGINE_INTERNAL, "the request has no config", "");
}

static EngineStatus check(EngineInstance *instance, EngineReply reply) {
  char answer[96];
  snprintf(answer, sizeof answer, "{\"summary\": \"ready to count to %" PRId64 "\"}", instance->rows);
  put(reply, answer);
  return ENGINE_OK;
}

static EngineStatus plan(EngineInstance *instance, EngineText request, EngineReply reply) {
  (void)request; /* There is no cursor: every run counts anew. */
  int64_t size = instance->split_rows;
  if (instance->rows / size >= MOST_SPLITS) size = instance->rows / MOST_SPLITS + 1;
  put(reply, "{\"splits\": [");
  int number = 0;
  for (int64_t first = 0; first < instance->rows; number++) {
    int64_t rows = instance->rows - first < size ? instance->rows - first : size;
    char split[192];
    /* Ids sort in the order of the rows, hence the zeros. */
    snprintf(split, sizeof split,
             "%s{\"id\": \"%04d\", \"spec\": {\"first\": %" PRId64 ", \"rows\": %" PRId64
             "}, \"estimated_rows\": %" PRId64 "}",
             number == 0 ? "" : ", ", number, first + 1, rows, rows);
    put(reply, split);
    first += rows;
  }
  put(reply, "]}");
  return ENGINE_OK;
}

/* ---- The stream ------------------------------------------------------------------ */

typedef struct Counting {
  EngineInstance *instance;
  int64_t next;
  int64_t left;
} Counting;

/* The two columns are described by static texts, so there is nothing to free but the struct. */
static void release_field(struct ArrowSchema *field) { field->release = NULL; }

static void release_schema(struct ArrowSchema *schema) {
  for (int64_t at = 0; at < schema->n_children; at++) {
    /* A child without release was moved away by the reader. */
    if (schema->children[at]->release != NULL) schema->children[at]->release(schema->children[at]);
  }
  free(schema->private_data);
  schema->release = NULL;
}

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
  Counting *counting = stream->private_data;
  struct Room {
    struct ArrowSchema fields[2];
    struct ArrowSchema *children[2];
  } *room = calloc(1, sizeof *room);
  if (room == NULL) {
    fail(&counting->instance->failure, ENGINE_UNAVAILABLE, "out of memory", "");
    return STREAM_FAILED;
  }
  room->fields[0] = (struct ArrowSchema){.format = "l", .name = "n", .release = release_field};
  room->fields[1] = (struct ArrowSchema){.format = "u", .name = "text", .release = release_field};
  room->children[0] = &room->fields[0];
  room->children[1] = &room->fields[1];
  *out = (struct ArrowSchema){.format = "+s",
                              .name = "",
                              .n_children = 2,
                              .children = room->children,
                              .release = release_schema,
                              .private_data = room};
  return 0;
}

/* All memory of one batch, freed in one go. */
typedef struct Batch {
  struct ArrowArray columns[2];
  struct ArrowArray *children[2];
  const void *rows_buffers[1];
  const void *n_buffers[2];
  const void *text_buffers[3];
  /* Columns of a batch may outlive each other: the last one frees it. */
  int holders;
  int64_t n[BATCH_ROWS];
  int32_t offsets[BATCH_ROWS + 1];
  char text[BATCH_ROWS * TEXT_ROOM];
} Batch;

static void let_go(Batch *batch) {
  if (__atomic_sub_fetch(&batch->holders, 1, __ATOMIC_ACQ_REL) == 0) free(batch);
}

static void release_column(struct ArrowArray *column) {
  column->release = NULL;
  let_go(column->private_data);
}

static void release_rows(struct ArrowArray *rows) {
  Batch *batch = rows->private_data;
  for (int64_t at = 0; at < rows->n_children; at++) {
    if (rows->children[at]->release != NULL) rows->children[at]->release(rows->children[at]);
  }
  rows->release = NULL;
  let_go(batch);
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
  Counting *counting = stream->private_data;
  const EngineHost *host = counting->instance->host;
  /* The end of a stream is an array without release. */
  memset(out, 0, sizeof *out);
  if (counting->left == 0) return 0;
  if (host->cancelled(host->context)) {
    fail(&counting->instance->failure, ENGINE_CANCELLED, "stopped on request", "");
    return STREAM_CANCELLED;
  }
  Batch *batch = malloc(sizeof *batch);
  if (batch == NULL) {
    fail(&counting->instance->failure, ENGINE_UNAVAILABLE, "out of memory", "");
    return STREAM_FAILED;
  }
  int32_t rows = counting->left < BATCH_ROWS ? (int32_t)counting->left : BATCH_ROWS;
  int32_t end = 0;
  for (int32_t row = 0; row < rows; row++) {
    batch->n[row] = counting->next + row;
    batch->offsets[row] = end;
    end += snprintf(batch->text + end, TEXT_ROOM, "row %" PRId64, counting->next + row);
  }
  batch->offsets[rows] = end;
  counting->next += rows;
  counting->left -= rows;

  /* The first buffer of each is the bitmap of what is not null: NULL, nothing is. */
  batch->rows_buffers[0] = NULL;
  batch->n_buffers[0] = NULL;
  batch->n_buffers[1] = batch->n;
  batch->text_buffers[0] = NULL;
  batch->text_buffers[1] = batch->offsets;
  batch->text_buffers[2] = batch->text;
  batch->columns[0] = (struct ArrowArray){
      .length = rows, .n_buffers = 2, .buffers = batch->n_buffers, .release = release_column, .private_data = batch};
  batch->columns[1] = (struct ArrowArray){
      .length = rows, .n_buffers = 3, .buffers = batch->text_buffers, .release = release_column, .private_data = batch};
  batch->children[0] = &batch->columns[0];
  batch->children[1] = &batch->columns[1];
  batch->holders = 3;
  *out = (struct ArrowArray){.length = rows,
                             .n_buffers = 1,
                             .n_children = 2,
                             .buffers = batch->rows_buffers,
                             .children = batch->children,
                             .release = release_rows,
                             .private_data = batch};
  return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream) {
  Counting *counting = stream->private_data;
  return counting->instance->failure.message;
}

static void release_stream(struct ArrowArrayStream *stream) {
  free(stream->private_data);
  stream->release = NULL;
}

static EngineStatus read_it(EngineInstance *instance, EngineText split, struct ArrowArrayStream *out) {
  Json at = json(split);
  char name[32];
  int64_t first = 0;
  int64_t rows = -1;
  if (!json_enter(&at)) return fail(&instance->failure, ENGINE_INTERNAL, "the split is not an object", "");
  while (json_member(&at, name, sizeof name) == 1) {
    if (strcmp(name, "spec") != 0) {
      if (!json_skip(&at)) break;
      continue;
    }
    if (!json_enter(&at)) break;
    while (json_member(&at, name, sizeof name) == 1) {
      int64_t *place = strcmp(name, "first") == 0 ? &first : strcmp(name, "rows") == 0 ? &rows : NULL;
      if (place == NULL ? !json_skip(&at) : !json_integer(&at, place)) break;
    }
  }
  if (first < 1 || rows < 0 || rows > INT64_MAX - first) {
    return fail(&instance->failure, ENGINE_CONFIG, "the split does not say which rows it has",
                "it was not planned by this version of the module; start the window anew");
  }
  Counting *counting = malloc(sizeof *counting);
  if (counting == NULL) return fail(&instance->failure, ENGINE_UNAVAILABLE, "out of memory", "");
  *counting = (Counting){instance, first, rows};
  *out = (struct ArrowArrayStream){.get_schema = get_schema,
                                   .get_next = get_next,
                                   .get_last_error = get_last_error,
                                   .release = release_stream,
                                   .private_data = counting};
  return ENGINE_OK;
}

static void last_error(EngineInstance *instance, EngineReply reply) { reply_failure(&instance->failure, reply); }

static void close_it(EngineInstance *instance) { free(instance); }

const EngineComponent count_component = {
    .size = sizeof(EngineComponent),
    .kind = ENGINE_SOURCE,
    .name = {"c_count", 7},
    .describe = describe,
    .open = open_it,
    .check = check,
    .plan = plan,
    .read = read_it,
    .last_error = last_error,
    .close = close_it,
};
