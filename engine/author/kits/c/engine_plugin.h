/*
 * engine_plugin.h: the engine's kit for components in C.
 *
 * `engine plugins new` writes this file and engine_plugin.c beside component.c,
 * where the component stands; `engine plugins build` makes one `.wasm` of them.
 * They are not to be edited: a newer engine may bring newer ones.
 *
 * component.c defines one EngineComponent with the name `engine_component`, and
 * sets the calls that its kind has. What a component looks like:
 *
 *   static const char *column;
 *
 *   static EngineStatus open_it(const EngineValue *config) {
 *     column = engine_text(engine_member(config, "column"), "");
 *     return ENGINE_OK;
 *   }
 *
 *   static EngineStatus transform(EngineValue *row) {
 *     const char *text = engine_text(engine_member(row, column), NULL);
 *     if (text == NULL) return engine_reject("no_text", "`%s` has no text", column);
 *     engine_set(row, column, engine_new_format("%s!", text));
 *     return ENGINE_OK;
 *   }
 *
 *   const EngineComponent engine_component = {
 *       .name = "shout",
 *       .summary = "Puts a mark behind a text",
 *       .settings = (const EngineSetting[]){{"column", "text", "The text column."}, {0}},
 *       .example = "{\"column\": \"name\"}",
 *       .open = open_it,
 *       .transform = transform,
 *   };
 *
 * Memory   What the kit hands out, and what is made through it, lives until the
 *          call returns. What is made or given in `open` lives as long as the
 *          instance, what is given to `read` and `start` as long as the stream.
 *          Nothing of it is freed by the component. When memory is out the
 *          instance ends, and the engine makes a new one.
 * Threads  There is one; static variables are the place for a component's state.
 * Rows     Are objects from column to value. Integers and decimals keep all their
 *          digits; dates and times are texts, as ISO 8601 writes them; binary
 *          values are read with engine_binary. Types of columns are `text`,
 *          `integer`, `number`, `decimal(12,2)`, `boolean`, `date`, `timestamp`,
 *          `timestamptz`, `binary`.
 */
#ifndef ENGINE_PLUGIN_H
#define ENGINE_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How a call ended. The first ones are as in the engine's plugin.h, and the kind
 * alone decides what the engine does.
 */
typedef enum EngineStatus {
  ENGINE_OK = 0,
  /* Wrong settings, no such column or table: gives up at once. */
  ENGINE_CONFIG = 1,
  /* A login or a permission was refused: gives up at once. */
  ENGINE_DENIED = 2,
  /* Cannot be reached, not ready, disk full: tries again. */
  ENGINE_UNAVAILABLE = 3,
  /* The other side asks to wait: tries again after engine_retry_after. */
  ENGINE_RATE_LIMITED = 4,
  /* A sink: the whole delivery's rows become dead letters. */
  ENGINE_REJECTED = 5,
  /* A bug. */
  ENGINE_INTERNAL = 6,
  /* Stopped because engine_cancelled answered true. */
  ENGINE_CANCELLED = 7,
  /* A transform leaves the row out; a decoder's line holds no record. */
  ENGINE_FILTERED = 100,
  /* The row or record is refused. Made by engine_reject only. */
  ENGINE_REFUSED = 101,
  /* A source has no more rows. */
  ENGINE_END = 102,
} EngineStatus;

/* Text or bytes with their length; borrowed. */
typedef struct EngineBytes {
  const char *data;
  size_t length;
} EngineBytes;

/* ---- Errors --------------------------------------------------------------- */

/* Keeps an error and answers with `kind`: `return engine_fail(ENGINE_CONFIG, "a hint, or NULL", "…", …);` */
EngineStatus engine_fail(EngineStatus kind, const char *hint, const char *message, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what `errno` says: `return engine_fail_errno("writing", path);` */
EngineStatus engine_fail_errno(const char *doing, const char *path);
/* How long the other side asked to wait, for the next engine_fail. */
void engine_retry_after(uint64_t milliseconds);
/*
 * Refuses the row or line at hand, which becomes a dead letter; its neighbours go
 * on. `code` is a short stable word such as `bad_date`; the reason says what is
 * wrong, with the value and the column: `return engine_reject("bad_date", "…", …);`
 */
EngineStatus engine_reject(const char *code, const char *reason, ...) __attribute__((format(printf, 2, 3)));

/* ---- Values --------------------------------------------------------------- */

/* A value of JSON. Every function takes NULL as a value that is not there. */
typedef struct EngineValue EngineValue;

/* A member of an object; NULL where there is none. */
EngineValue *engine_member(const EngineValue *object, const char *name);
/* How many members an object, or items a list, has. */
size_t engine_count(const EngineValue *value);
/* An item of a list or the value of a member, by its place. */
EngineValue *engine_item(const EngineValue *value, size_t at);
/* The name of a member, by its place. */
const char *engine_name(const EngineValue *object, size_t at);
/* Not there, or null. */
bool engine_is_null(const EngineValue *value);
/* A text, or a number or boolean as JSON writes it; ends with a NUL. Else `otherwise`. */
const char *engine_text(const EngineValue *value, const char *otherwise);
/* The same with its length, for texts that may hold a NUL. */
EngineBytes engine_text_bytes(const EngineValue *value);
/* A whole number of 64 bits, also one that crossed as a text. Else `otherwise`. */
int64_t engine_integer(const EngineValue *value, int64_t otherwise);
/* A number, also one that crossed as a text, such as NaN. Else `otherwise`. */
double engine_number(const EngineValue *value, double otherwise);
bool engine_boolean(const EngineValue *value, bool otherwise);
/* The bytes of a binary value. */
EngineBytes engine_binary(const EngineValue *value);
/* As JSON. */
const char *engine_json(const EngineValue *value);

EngineValue *engine_new_object(void);
EngineValue *engine_new_list(void);
EngineValue *engine_new_text(const char *text);
EngineValue *engine_new_text_bytes(const char *text, size_t length);
EngineValue *engine_new_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
EngineValue *engine_new_integer(int64_t number);
EngineValue *engine_new_number(double number);
EngineValue *engine_new_boolean(bool boolean);
EngineValue *engine_new_binary(const void *data, size_t length);
EngineValue *engine_new_null(void);
/* Text to a value, as a column's type says; engine_reject if it is none. */
EngineStatus engine_from_text(EngineBytes text, const char *type, EngineValue **value);
/* Sets a member, new or old. */
void engine_set(EngineValue *object, const char *name, EngineValue *value);
/* Takes a member away, if it is there. */
void engine_remove(EngineValue *object, const char *name);
/* Adds an item to a list. */
void engine_append(EngineValue *list, EngineValue *value);

/* A text that grows. Begins as `{0}`; `data` then ends with a NUL. */
typedef struct EngineBuffer {
  char *data;
  size_t length;
  size_t room;
} EngineBuffer;

void engine_put(EngineBuffer *buffer, const void *data, size_t length);
void engine_print(EngineBuffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- What the engine offers ------------------------------------------------- */

#define ENGINE_LOG_ERROR 0
#define ENGINE_LOG_WARN 1
#define ENGINE_LOG_INFO 2
#define ENGINE_LOG_DEBUG 3
#define ENGINE_LOG_TRACE 4

void engine_log(int level, const char *message, ...) __attribute__((format(printf, 2, 3)));
/* Whether the work should stop soon. The kit asks for every batch; ask in anything longer than 100 ms. */
bool engine_cancelled(void);
/* Milliseconds that the present operation may still take; -1: no limit. */
int64_t engine_deadline(void);
/* Counts rows that `push` left out on purpose; `transform` answers ENGINE_FILTERED instead. */
void engine_filtered(uint64_t rows);
/* Refuses rows as they came in, for `push` and `write`; elsewhere use engine_reject. */
EngineStatus engine_reject_rows(const char *code, const char *reason, const EngineValue *rows);
/* Refuses a record in `decode`: `data` is what it takes to read it alone. */
EngineStatus engine_reject_record(const char *code, const char *reason, EngineBytes data);
/* Adds a part to the present delivery's receipt. */
EngineStatus engine_receipt(const EngineValue *part);
/* Keeps a value for this stage, also for later runs: what would be costly to get again, such as a login. A null
 * forgets it. */
EngineStatus engine_remember(const EngineValue *value);
/* What was kept when the component was opened; NULL where there is none. */
const EngineValue *engine_remembered(void);
/* A path of the configuration: relative ones are relative to the pipeline file. */
const char *engine_path(const char *path);

/* ---- A component -------------------------------------------------------------- */

/* A setting. `type` is text, integer, number, boolean, texts (a list) or mapping (names to texts). */
typedef struct EngineSetting {
  const char *name;
  const char *type;
  const char *description;
  /* The default as JSON, such as `"\"49\""` or `"7"`. Without it the setting must be given. */
  const char *otherwise;
  /* For numbers: a limit as JSON, such as `"1"`. */
  const char *minimum;
  const char *maximum;
  /* For texts: `secret`, `template`, `duration` or `bytes`. */
  const char *format;
} EngineSetting;

typedef struct EngineColumn {
  const char *name;
  const char *type;
} EngineColumn;

typedef struct EngineComponent {
  /* As written in `use:` or `format:`; [a-z][a-z0-9_]*. */
  const char *name;
  /* What it does, in one line without a full stop. */
  const char *summary;
  /* Ends with `{0}`. */
  const EngineSetting *settings;
  /* A configuration that works, as JSON, and what it shows. */
  const char *example;
  const char *example_title;
  /* Other members of the description, as JSON: `"{\"promise\": \"idempotent\"}"`. */
  const char *members;
  /* Sources and decoders: the columns, which end with `{0}`; or the call `give_columns`. */
  const EngineColumn *columns;

  /* All. The configuration is checked, and defaults are filled in. Looks at it only. */
  EngineStatus (*open)(const EngineValue *config);
  /* All. Tries what is needed to work, changes nothing; `*summary` is one line for a person. */
  EngineStatus (*check)(const char **summary);
  /* Sources and decoders. Adds columns through engine_add_column. */
  EngineStatus (*give_columns)(EngineValue *columns);

  /*
   * Sources. Cuts what there is to read: appends to `splits` an object for each of
   * all that `read` needs, in the order of the rows; `*upper` is the next run's
   * cursor, and without it every run reads everything. `cursor` is null in the
   * first run. When nothing is new: no splits, and the cursor as it came.
   */
  EngineStatus (*plan)(const EngineValue *cursor, EngineValue *splits, EngineValue **upper);
  /* Sources. Begins to read one split. */
  EngineStatus (*read)(const EngineValue *split);
  /* Sources. Sets the members of the next row; ENGINE_END where there is none. */
  EngineStatus (*next)(EngineValue *row);

  /* Transforms and sinks. A stream begins; transforms change the columns here. */
  EngineStatus (*start)(EngineValue *columns);
  /* Transforms. Changes one row, or ENGINE_FILTERED, or engine_reject. */
  EngineStatus (*transform)(EngineValue *row);
  /* Transforms of whole batches, instead: appends to `out` what goes out. */
  EngineStatus (*push)(const EngineValue *rows, EngineValue *out);
  /* Transforms of whole batches. The stream has ended. */
  EngineStatus (*finish)(EngineValue *out);

  /* Formats. Sets the members of the row of one line, which ends with a NUL. */
  EngineStatus (*decode_line)(EngineBytes line, EngineValue *row);
  /* Formats, instead, for files that are no lines: appends the rows of one whole file. */
  EngineStatus (*decode)(EngineBytes file, EngineValue *rows);
  /* Formats. Writes the line of one row, without its end. */
  EngineStatus (*encode_line)(const EngineValue *row, EngineBuffer *line);
  /* Formats. What stands before the first row and behind the last. */
  EngineStatus (*encode_start)(const EngineValue *columns, EngineBuffer *out);
  EngineStatus (*encode_end)(EngineBuffer *out);

  /* Sinks. Once a window; `*parallel`: several instances may deliver splits at the same time. */
  EngineStatus (*begin_run)(const EngineValue *run, bool *parallel);
  /* Sinks. Sets `*receipt` to an object if the delivery has arrived before. */
  EngineStatus (*begin_split)(const EngineValue *delivery, EngineValue **receipt);
  /* Sinks. The delivery's rows or files begin. */
  EngineStatus (*start_write)(const EngineValue *delivery, const EngineValue *columns);
  /* Sinks. Takes some rows, visible to no one. */
  EngineStatus (*write)(const EngineValue *rows);
  /* Sinks with `"takes": "files"`, instead: takes one piece of a file. */
  EngineStatus (*write_piece)(const char *name, EngineBytes data);
  /* Sinks. All of it is there: makes it ready. May set `bytes`, `sha256` and `parts`. */
  EngineStatus (*finish_write)(const EngineValue *delivery, EngineValue *sealed);
  /* Sinks. Makes it visible, all or nothing, once; sets `rows`, `bytes`, `location`. */
  EngineStatus (*commit)(const EngineValue *delivery, EngineValue *receipt);
  /* Sinks. Throws away what an unfinished delivery left; works on nothing, and twice. */
  EngineStatus (*abort)(const EngineValue *delivery);
  /* Sinks. After the last commit; must work twice. */
  EngineStatus (*finish_run)(const EngineValue *run);
} EngineComponent;

/* Defined in component.c. */
extern const EngineComponent engine_component;

/* A column's type; NULL where there is no such column. */
const char *engine_column_type(const EngineValue *columns, const char *name);
void engine_add_column(EngineValue *columns, const char *name, const char *type);
/* An ENGINE_CONFIG that lists the columns that there are. */
EngineStatus engine_no_column(const EngineValue *columns, const char *name);

/* ---- Tests --------------------------------------------------------------------- */
#ifdef ENGINE_TEST
/*
 * The engine of a test, which runs without one. Compile component.c,
 * engine_plugin.c and the test with the machine's own compiler and -DENGINE_TEST.
 * Rows are JSON; where a text has no `"`, each `'` stands for one. Answers live
 * until the next engine_test_open. What fails answers `kind: message`.
 */
void engine_test_open(const char *config, const char *folder);
/* `{"rows": […], "upper": …}` */
const char *engine_test_read(const char *cursor);
const char *engine_test_transform(const char *rows);
/* The file comes in pieces of so many bytes. */
const char *engine_test_decode(const char *file, size_t piece_bytes);
const char *engine_test_encode(const char *rows);
/* Makes a delivery ready: `ready`, or `committed` if it has arrived before. */
const char *engine_test_write(const char *key, const char *file);
const char *engine_test_commit(void);
void engine_test_abort(void);
/* What was refused, as JSON: `[{"code", "reason", "data"}]`, `data` as it came. */
const char *engine_test_rejected(void);
/* The codes of what was refused: `bad_date bad_date too_long`. */
const char *engine_test_codes(void);
uint64_t engine_test_filtered(void);
uint64_t engine_test_records(void);
/* Asks the component to stop. */
void engine_test_cancel(void);
/* Ends the test with a message where two texts differ; `'` as above. */
#define engine_test_same(found, expected) engine_test_compare(__FILE__, __LINE__, found, expected)
void engine_test_compare(const char *file, int line, const char *found, const char *expected);
#endif

#endif /* ENGINE_PLUGIN_H */
