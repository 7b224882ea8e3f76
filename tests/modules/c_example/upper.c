/*
 * upper.c: the transform `c_upper`. It writes the ASCII letters of one text
 * column in capitals, and refuses rows whose text holds a NUL.
 *
 * What to look at: a transform puts a stream in front of another and works when
 * it is pulled; buffers that came in are never written to, only shared; a row
 * that is refused is handed to host->reject as it came, and its neighbours go
 * on. Leaving rows out needs no copying: the batch is handed on in pieces
 * around them, and the pieces share what they are made of.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "example.h"

#define COLUMN_NAME_ROOM 128

struct EngineInstance {
  const EngineHost *host;
  char column[COLUMN_NAME_ROOM];
  Failure failure;
};

static EngineStatus describe(EngineReply reply) {
  put(reply,
      "{\"summary\": \"Writes a text column in capitals\", \"scope\": \"row\","
      " \"schema\": {"
      "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\","
      "  \"type\": \"object\", \"additionalProperties\": false, \"required\": [\"column\"],"
      "  \"properties\": {\"column\": {\"type\": \"string\", \"minLength\": 1,"
      "   \"description\": \"The column to change; its type is utf8.\"}}},"
      " \"examples\": [{\"title\": \"capitals in the column text\", \"config\": {\"column\": \"text\"}}]}");
  return ENGINE_OK;
}

static EngineStatus read_config(EngineInstance *instance, Json *at) {
  static const char hint[] = "write for example {column: text}";
  char name[32];
  int found;
  if (!json_enter(at)) return fail(&instance->failure, ENGINE_CONFIG, "the configuration is not an object", hint);
  while ((found = json_member(at, name, sizeof name)) == 1) {
    char message[96];
    if (strcmp(name, "column") != 0) {
      snprintf(message, sizeof message, "unknown setting `%s`", name);
      return fail(&instance->failure, ENGINE_CONFIG, message, "the only setting is column");
    }
    if (!json_text(at, instance->column, sizeof instance->column)) {
      return fail(&instance->failure, ENGINE_CONFIG, "`column` is not a column's name", hint);
    }
  }
  if (found < 0) return fail(&instance->failure, ENGINE_CONFIG, "the configuration is not JSON", hint);
  if (instance->column[0] == '\0') return fail(&instance->failure, ENGINE_CONFIG, "`column` is missing", hint);
  return ENGINE_OK;
}

static EngineStatus open_it(const EngineHost *host, EngineText request, EngineInstance **out) {
  EngineInstance *instance = calloc(1, sizeof *instance);
  *out = instance;
  if (instance == NULL) return ENGINE_UNAVAILABLE;
  instance->host = host;

  Json at = json(request);
  char name[32];
  if (!json_enter(&at)) return fail(&instance->failure, ENGINE_INTERNAL, "the request is not an object", "");
  while (json_member(&at, name, sizeof name) == 1) {
    if (strcmp(name, "config") == 0) return read_config(instance, &at);
    if (!json_skip(&at)) break;
  }
  return fail(&instance->failure, ENGINE_INTERNAL, "the request has no config", "");
}

static EngineStatus check(EngineInstance *instance, EngineReply reply) {
  (void)instance;
  put(reply, "{\"summary\": \"nothing to check\"}");
  return ENGINE_OK;
}

/* ---- A batch and the pieces of it --------------------------------------------------- */

/* What came in, and the column's new letters: kept until the last piece is released. */
typedef struct Shared {
  int holders;
  struct ArrowArray rows;
  char *letters;
  const void *buffers[3];
} Shared;

static void let_go(Shared *shared) {
  if (__atomic_sub_fetch(&shared->holders, 1, __ATOMIC_ACQ_REL) > 0) return;
  if (shared->rows.release != NULL) shared->rows.release(&shared->rows);
  free(shared->letters);
  free(shared);
}

/* Releases a copy made by `share`, its children included. */
static void release_copy(struct ArrowArray *copy) {
  for (int64_t at = 0; at < copy->n_children; at++) {
    if (copy->children[at]->release != NULL) copy->children[at]->release(copy->children[at]);
    free(copy->children[at]);
  }
  free(copy->children);
  if (copy->dictionary != NULL) {
    if (copy->dictionary->release != NULL) copy->dictionary->release(copy->dictionary);
    free(copy->dictionary);
  }
  copy->release = NULL;
  let_go(copy->private_data);
}

/*
 * A second array over the same buffers, which may be released, or moved, by
 * itself. Answers false when memory is out; what was made is then released.
 */
static bool share(Shared *shared, const struct ArrowArray *of, struct ArrowArray *copy) {
  *copy = *of;
  copy->n_children = 0;
  copy->children = NULL;
  copy->dictionary = NULL;
  copy->private_data = shared;
  copy->release = release_copy;
  __atomic_add_fetch(&shared->holders, 1, __ATOMIC_ACQ_REL);

  bool whole = true;
  if (of->n_children > 0) whole = (copy->children = calloc((size_t)of->n_children, sizeof *copy->children)) != NULL;
  for (int64_t at = 0; whole && at < of->n_children; at++) {
    copy->children[at] = calloc(1, sizeof **copy->children);
    if (copy->children[at] == NULL) break;
    copy->n_children = at + 1;
    whole = share(shared, of->children[at], copy->children[at]);
  }
  whole = whole && copy->n_children == of->n_children;
  if (whole && of->dictionary != NULL) {
    whole = (copy->dictionary = calloc(1, sizeof *copy->dictionary)) != NULL &&
            share(shared, of->dictionary, copy->dictionary);
  }
  if (!whole) release_copy(copy);
  return whole;
}

/* ---- The stream ------------------------------------------------------------------------ */

typedef struct Upper {
  EngineInstance *instance;
  struct ArrowArrayStream in;
  struct ArrowSchema schema;
  int64_t column;
  /* The batch at hand and how many of its rows have been looked at. */
  Shared *batch;
  int64_t done;
} Upper;

static int stop(Upper *upper, EngineStatus kind, const char *message) {
  fail(&upper->instance->failure, kind, message, "");
  return kind == ENGINE_CANCELLED ? STREAM_CANCELLED : STREAM_FAILED;
}

/* Pulls the next batch and makes the new letters. Answers as get_next does. */
static int pull(Upper *upper) {
  struct ArrowArray rows;
  memset(&rows, 0, sizeof rows);
  int code = upper->in.get_next(&upper->in, &rows);
  if (code != 0) {
    /* The engine knows what its own stream met; it only needs to hear that it ended here. */
    const char *why = upper->in.get_last_error(&upper->in);
    stop(upper, code == STREAM_CANCELLED ? ENGINE_CANCELLED : ENGINE_INTERNAL, why == NULL ? "the input failed" : why);
    return code;
  }
  if (rows.release == NULL) return 0;

  const struct ArrowArray *text = rows.children[upper->column];
  const int32_t *offsets = text->buffers[1];
  int32_t first = text->length == 0 ? 0 : offsets[text->offset];
  int32_t end = text->length == 0 ? 0 : offsets[text->offset + text->length];
  Shared *batch = calloc(1, sizeof *batch);
  /* The offsets are kept, so the letters stand where they stood. */
  char *letters = calloc((size_t)end + 1, 1);
  if (batch == NULL || letters == NULL) {
    rows.release(&rows);
    free(batch);
    free(letters);
    return stop(upper, ENGINE_UNAVAILABLE, "out of memory");
  }
  const char *old = text->buffers[2];
  for (int32_t at = first; at < end; at++) letters[at] = old[at] >= 'a' && old[at] <= 'z' ? old[at] - 'a' + 'A' : old[at];
  batch->holders = 1;
  batch->rows = rows;
  batch->letters = letters;
  batch->buffers[0] = text->buffers[0];
  batch->buffers[1] = text->buffers[1];
  batch->buffers[2] = letters;
  upper->batch = batch;
  upper->done = 0;
  return 0;
}

/* Whether a row of the batch at hand must be refused. A null has no text to refuse. */
static bool has_nul(const Upper *upper, int64_t row) {
  const struct ArrowArray *rows = &upper->batch->rows;
  const struct ArrowArray *text = rows->children[upper->column];
  int64_t at = rows->offset + text->offset + row;
  const uint8_t *present = text->buffers[0];
  if (present != NULL && (present[at / 8] >> (at % 8) & 1) == 0) return false;
  const int32_t *offsets = text->buffers[1];
  int32_t length = offsets[at + 1] - offsets[at];
  return length > 0 && memchr((const char *)text->buffers[2] + offsets[at], '\0', (size_t)length) != NULL;
}

/* Hands a row to the engine as it came, as a slice of what it came in. */
static EngineStatus reject(Upper *upper, int64_t row) {
  static const char code[] = "nul_in_text";
  char reason[COLUMN_NAME_ROOM + 64];
  struct ArrowArray slice = upper->batch->rows;
  slice.offset += row;
  slice.length = 1;
  snprintf(reason, sizeof reason, "the text in column `%s` holds a NUL", upper->instance->column);
  EngineRejection rejection = {
      .size = sizeof rejection,
      .reason = {reason, strlen(reason)},
      .code = {code, sizeof code - 1},
      .rows = &slice,
      .schema = &upper->schema,
  };
  const EngineHost *host = upper->instance->host;
  return host->reject(host->context, &rejection);
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
  Upper *upper = stream->private_data;
  const EngineHost *host = upper->instance->host;
  memset(out, 0, sizeof *out);
  if (host->cancelled(host->context)) return stop(upper, ENGINE_CANCELLED, "stopped on request");
  for (;;) {
    if (upper->batch == NULL) {
      int code = pull(upper);
      if (code != 0 || upper->batch == NULL) return code;
    }
    Shared *batch = upper->batch;
    while (upper->done < batch->rows.length && has_nul(upper, upper->done)) {
      EngineStatus kept = reject(upper, upper->done);
      if (kept != ENGINE_OK) return stop(upper, kept, "a refused row could not be kept");
      upper->done++;
    }
    int64_t first = upper->done;
    while (upper->done < batch->rows.length && !has_nul(upper, upper->done)) upper->done++;
    bool whole = true;
    int64_t length = upper->done - first;
    if (length > 0) {
      whole = share(batch, &batch->rows, out);
      if (whole) {
        out->offset += first;
        out->length = length;
        out->children[upper->column]->buffers = batch->buffers;
      }
    }
    if (upper->done == batch->rows.length) {
      upper->batch = NULL;
      let_go(batch);
    }
    if (!whole) return stop(upper, ENGINE_UNAVAILABLE, "out of memory");
    /* An empty batch, or one whose rows were all refused: go on with the next. */
    if (length > 0) return 0;
  }
}

/* The columns stay as they are: the input is asked anew. */
static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
  Upper *upper = stream->private_data;
  return upper->in.get_schema(&upper->in, out);
}

static const char *get_last_error(struct ArrowArrayStream *stream) {
  Upper *upper = stream->private_data;
  return upper->instance->failure.message;
}

static void release_stream(struct ArrowArrayStream *stream) {
  Upper *upper = stream->private_data;
  if (upper->batch != NULL) let_go(upper->batch);
  if (upper->schema.release != NULL) upper->schema.release(&upper->schema);
  upper->in.release(&upper->in);
  free(upper);
  stream->release = NULL;
}

/* Finds the column; says which ones there are when it is not there. */
static EngineStatus find_column(EngineInstance *instance, const struct ArrowSchema *schema, int64_t *column) {
  char message[COLUMN_NAME_ROOM + 64];
  char hint[160];
  size_t length = (size_t)snprintf(hint, sizeof hint, "there are:");
  for (int64_t at = 0; at < schema->n_children; at++) {
    const struct ArrowSchema *field = schema->children[at];
    if (strcmp(field->name, instance->column) == 0) {
      *column = at;
      if (strcmp(field->format, "u") == 0) return ENGINE_OK;
      snprintf(message, sizeof message, "column `%s` is not of type utf8", instance->column);
      return fail(&instance->failure, ENGINE_CONFIG, message, "only texts have capitals");
    }
    if (length < sizeof hint) length += (size_t)snprintf(hint + length, sizeof hint - length, " %s", field->name);
  }
  snprintf(message, sizeof message, "there is no column `%s`", instance->column);
  return fail(&instance->failure, ENGINE_CONFIG, message, hint);
}

static EngineStatus apply(EngineInstance *instance, int32_t direction, struct ArrowArrayStream *in,
                          struct ArrowArrayStream *out) {
  Upper *upper = calloc(1, sizeof *upper);
  EngineStatus status = ENGINE_OK;
  if (upper == NULL) status = fail(&instance->failure, ENGINE_UNAVAILABLE, "out of memory", "");
  if (status == ENGINE_OK && direction != ENGINE_APPLY) {
    status = fail(&instance->failure, ENGINE_CONFIG, "a transform has one direction", "");
  }
  if (status == ENGINE_OK && in->get_schema(in, &upper->schema) != 0) {
    upper->schema.release = NULL;
    const char *why = in->get_last_error(in);
    status = fail(&instance->failure, ENGINE_INTERNAL, why == NULL ? "the input has no schema" : why, "");
  }
  if (status == ENGINE_OK) status = find_column(instance, &upper->schema, &upper->column);
  if (status != ENGINE_OK) {
    if (upper != NULL && upper->schema.release != NULL) upper->schema.release(&upper->schema);
    free(upper);
    /* `in` is ours from the first line on, also when nothing comes of it. */
    in->release(in);
    return status;
  }
  upper->instance = instance;
  /* A stream is moved by copying it and marking the old place as released. */
  upper->in = *in;
  in->release = NULL;
  *out = (struct ArrowArrayStream){.get_schema = get_schema,
                                   .get_next = get_next,
                                   .get_last_error = get_last_error,
                                   .release = release_stream,
                                   .private_data = upper};
  return ENGINE_OK;
}

static void last_error(EngineInstance *instance, EngineReply reply) { reply_failure(&instance->failure, reply); }

static void close_it(EngineInstance *instance) { free(instance); }

const EngineComponent upper_component = {
    .size = sizeof(EngineComponent),
    .kind = ENGINE_TRANSFORM,
    .name = {"c_upper", 7},
    .describe = describe,
    .open = open_it,
    .check = check,
    .apply = apply,
    .last_error = last_error,
    .close = close_it,
};
