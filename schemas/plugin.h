/*
 * plugin.h: the border between the engine and a native module.
 *
 * This header is the specification. The Rust crates `engine-abi` (both sides),
 * `engine-sdk` (module side) and `engine-host` (engine side) follow it, not the
 * other way round; a test compares every size and offset.
 *
 * A module is one shared library. It exports one function, engine_module_v1,
 * which returns a static table. The table lists components; a component is a
 * source, a transform, a format, a sink or a state.
 *
 * Rules that hold for every call
 *
 *   Threads     The engine owns the threads. An instance is used by one thread
 *               at a time, so a component needs no locks of its own. Different
 *               instances run at the same time. A stream that a component
 *               returned belongs to its instance: it is read by the thread that
 *               uses the instance, and at most one is open at a time.
 *   Blocking    Calls may block. Long ones ask host->cancelled() at least every
 *               100 ms and return ENGINE_CANCELLED when it answers 1.
 *   Texts       EngineText is UTF-8, not terminated by a NUL, and borrowed for
 *               the duration of the call. An empty text may have a NULL pointer.
 *   Messages    What is not rows crosses as JSON text: configurations, splits,
 *               deliveries, receipts. Unknown members must be ignored by both
 *               sides, so that members can be added.
 *   Rows        Cross as Arrow record batches through the Arrow C stream
 *               interface (https://arrow.apache.org/docs/format/CStreamInterface.html).
 *               A batch is an array of struct type, without nulls of its own.
 *   Files       Are streams too: batches with the columns `name` (Utf8) and
 *               `data` (Binary), neither null. Consecutive rows with one name
 *               are pieces of one file, in order.
 *   Errors      A call that fails returns a status other than ENGINE_OK; the
 *               engine then asks last_error. In a stream, get_next returns a
 *               number other than 0 and the engine asks last_error of the
 *               instance that the stream belongs to. The status alone decides
 *               what the engine does; no message is ever parsed.
 *   Sizes       Every struct that may grow begins with its size in bytes, as
 *               its maker knew it. A reader treats members beyond that size as
 *               absent. New members are added at the end only.
 *   Absent      A function pointer is NULL where a component cannot do a thing:
 *               a source has no `write`. The list for each kind stands below.
 *   Panics      Nothing may unwind or longjmp across the border.
 *   Unloading   A module is never unloaded; its table lives for ever.
 */
#ifndef ENGINE_PLUGIN_H
#define ENGINE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ENGINE_ABI_VERSION 1

/* ---- Arrow C data and stream interface, as published --------------------- */

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
  const char *format;
  const char *name;
  const char *metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema **children;
  struct ArrowSchema *dictionary;
  void (*release)(struct ArrowSchema *);
  void *private_data;
};

struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void **buffers;
  struct ArrowArray **children;
  struct ArrowArray *dictionary;
  void (*release)(struct ArrowArray *);
  void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
  int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
  int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
  const char *(*get_last_error)(struct ArrowArrayStream *);
  void (*release)(struct ArrowArrayStream *);
  void *private_data;
};

#endif /* ARROW_C_STREAM_INTERFACE */

/* ---- Basic types ---------------------------------------------------------- */

/* UTF-8 text, borrowed for the duration of the call. */
typedef struct EngineText {
  const char *data;
  size_t length;
} EngineText;

/* Bytes, borrowed for the duration of the call. */
typedef struct EngineBytes {
  const uint8_t *data;
  size_t length;
} EngineBytes;

/*
 * How a call ended. Everything but ENGINE_OK is an error kind, and the kind
 * alone decides what the engine does.
 */
typedef int32_t EngineStatus;
#define ENGINE_OK 0
/* The configuration or the request is wrong; trying again cannot help. */
#define ENGINE_CONFIG 1
/* The other side refused who we are or what we may do. */
#define ENGINE_DENIED 2
/* The other side cannot be reached or is not ready; tried again. */
#define ENGINE_UNAVAILABLE 3
/* The other side asks to wait; tried again after retry_after_ms. */
#define ENGINE_RATE_LIMITED 4
/* The data was refused; the rows concerned become dead letters. */
#define ENGINE_REJECTED 5
/* A bug in the component. */
#define ENGINE_INTERNAL 6
/* The call stopped because host->cancelled() answered 1. Not a failure. */
#define ENGINE_CANCELLED 7

/*
 * Where a component puts a text that it answers with. `put` copies; it may be
 * called several times, and the pieces are joined.
 */
typedef struct EngineReply {
  void *context;
  void (*put)(void *context, EngineText text);
} EngineReply;

/* An open component. What it points to is the module's own business. */
typedef struct EngineInstance EngineInstance;

/* ---- What the host offers -------------------------------------------------- */

#define ENGINE_LOG_ERROR 1
#define ENGINE_LOG_WARN 2
#define ENGINE_LOG_INFO 3
#define ENGINE_LOG_DEBUG 4
#define ENGINE_LOG_TRACE 5

/*
 * A record that a component refuses. It is kept whole, as a dead letter.
 * Either `data` (a decoder: the bytes of the record as they came, with what it
 * takes to read them alone, such as a header line) or `rows` and
 * `schema` (everything else: a struct array of one or more refused rows, as
 * they came in) is set; the other is empty or NULL. Rows are borrowed: the
 * engine copies what it keeps and does not call their release.
 */
typedef struct EngineRejection {
  uint32_t size;
  /* What is wrong, for a person; with the value and the place, never a secret. */
  EngineText reason;
  /* A short stable word to group by, such as `bad_date`. Not empty. */
  EngineText code;
  /* Decoders: the name of the file or peer the record came from. */
  EngineText name;
  EngineBytes data;
  const struct ArrowArray *rows;
  const struct ArrowSchema *schema;
} EngineRejection;

#define ENGINE_RECORD_COMPLETE 0
/* The peer went away in the middle of a record. */
#define ENGINE_RECORD_PARTIAL 1
/* The record was longer than the cap; `data` is its beginning. */
#define ENGINE_RECORD_OVERSIZE 2

/* What a push source takes in, on its way to the spool. */
typedef struct EngineRecord {
  uint32_t size;
  /* ENGINE_RECORD_…; other than complete becomes a dead letter, not data. */
  int32_t state;
  /* Numbers the connection; unique within one `listen`. */
  uint64_t connection;
  /* How many records `data` holds. */
  uint32_t records;
  /* Who sent it, such as `192.0.2.7:40112`. Becomes the `name` of the file. */
  EngineText peer;
  /* Whole records with their ends, as they came. */
  EngineBytes data;
} EngineRecord;

/*
 * Given to `open`; valid until `close` returns. All functions may be called
 * from any thread of the component until the call (or stream) in progress
 * ends.
 */
typedef struct EngineHost {
  uint32_t size;
  void *context;
  void (*log)(void *context, int32_t level, EngineText message);
  /* 1 once the work should stop soon, else 0. Cheap enough for every batch. */
  int32_t (*cancelled)(void *context);
  /* Milliseconds that the present operation may still take; -1: no limit. */
  int64_t (*deadline)(void *context);
  /*
   * Adds to the counts of records taken in and of bytes moved. A decoder calls
   * it for every record that it framed: rows out + rejected must add up to it.
   */
  void (*progress)(void *context, uint64_t records, uint64_t bytes);
  /* Adds rows that a transform left out on purpose. */
  void (*filtered)(void *context, uint64_t rows);
  /* Keeps a refused record. An answer other than ENGINE_OK must be returned. */
  EngineStatus (*reject)(void *context, const EngineRejection *rejection);
  /*
   * Adds a part to the present delivery's receipt, as JSON: what the other
   * side answered for a piece of it. It is stored before the call returns, and
   * comes back as one of `answered`, should the delivery be made again: for a
   * target that cannot take a delivery as a whole. Gone once it is settled.
   */
  EngineStatus (*receipt)(void *context, EngineText part);
  /*
   * Keeps a value for this stage of the pipeline, as JSON, in the place of the one
   * before: what would be costly to get again, such as a login. It is stored before
   * the call returns, readable to the engine's user alone, and comes with `open` as
   * `remembered`, also in later runs. `null` forgets it. It may be gone at any time:
   * on another machine there is none. Where `open` came without `remembered`, as in a
   * check, nothing is kept.
   */
  EngineStatus (*remember)(void *context, EngineText value);
  /*
   * Push sources: takes a record over. It returns when the record is in the
   * spool's buffer; the next group commit makes it durable. It blocks while
   * the spool is full. `*sequence` (may be NULL) is set to the place to pass
   * to `durable`.
   */
  EngineStatus (*append)(void *context, const EngineRecord *record, uint64_t *sequence);
  /* Push sources: returns when everything up to `sequence` is on disk. */
  EngineStatus (*durable)(void *context, uint64_t sequence);
} EngineHost;

/* ---- A component ------------------------------------------------------------ */

#define ENGINE_SOURCE 1
#define ENGINE_TRANSFORM 2
#define ENGINE_FORMAT 3
#define ENGINE_SINK 4
#define ENGINE_STATE 5

/* Directions of `apply`. */
#define ENGINE_APPLY 0  /* transforms: rows to rows */
#define ENGINE_DECODE 1 /* formats: files to rows; compressions: files to files */
#define ENGINE_ENCODE 2 /* formats: rows to files; compressions: files to files */
/*
 * Formats whose description says "cuts": one file to the places at which it can
 * be cut, as batches of the columns `head`, `at` and `lines` (UInt64, not
 * null). A record begins `at` so many bytes from the file's beginning; what
 * follows is decoded the same when only the file's first `head` bytes stand in
 * front of it, and `lines` lines less. A file that is read like that has the
 * metadata "engine.range" in its schema: {"head", "from", "to", "lines"}.
 */
#define ENGINE_CUT 3

/*
 * Which calls a component has, and in what order the engine makes them.
 *
 *   all        describe · open · check · last_error · close
 *   source     plan · read · delivered         open, plan, then read per split
 *   push       listen                          open, listen until cancelled
 *   transform  apply                          scope before, if it "narrows"
 *   format     apply                           direction says which way
 *   sink       begin_run · begin_split · write · commit · abort · finish_run
 *   state      acquire · load · store · release
 *
 * A sink's calls, for one window of data:
 *
 *   begin_run            once an instance, before its first split
 *     begin_split        "new", "sealed" or "committed"
 *       write            new: takes all rows or files of the split, makes them
 *                        ready and durable on the way, but visible to no one
 *       commit           new and sealed: makes them visible, all or nothing,
 *                        once: under the delivery's key
 *       abort            instead of commit, whenever write failed, or commit for
 *                        good: what was answered with a "sha256" may be committed
 *                        later; done to its end, although `cancelled` may answer 1
 *   finish_run           once, after the last commit; idempotent
 *
 * After a crash the engine makes the same calls for the same deliveries again.
 * Where begin_run answers "parallel", each of several instances gets begin_run
 * and some of the splits; one of them gets finish_run, after the last commit of
 * all of them.
 *
 * A state keeps what the engine remembers, where several machines can reach it:
 * documents, each with a key in its collection, whose meaning is the engine's
 * own. One engine holds it at a time, and it changes by transactions in one
 * order: `store` names how many there were before it. An engine that has lost
 * it, or has missed a change, is refused. The component keeps the documents, how
 * many changes there were, the last one's id and form, and the holder with the
 * time of its last sign of life, by the clock of the database.
 *
 * A format whose description has "gives": "files" is a compression. In both
 * directions each file that comes in goes out as one file under the same name,
 * in the same order; an empty file is a file too. Decoding fails with an error
 * on a file that is damaged or ends too early. A compression counts no records
 * and rejects none.
 */
typedef struct EngineComponent {
  uint32_t size;
  /* ENGINE_SOURCE, … */
  int32_t kind;
  /* As written in `use:` or `format:`; [a-z][a-z0-9_]*. */
  EngineText name;

  /*
   * Answers with a description: {"summary", "schema" (JSON Schema of the
   * configuration), "examples", "promise", "unit", "scope", "narrows",
   * "gives", "takes",
   * "push", …}. See docs/guide/connectors.md for all members. Must not depend
   * on the machine: the answer is cached by the hash of the module's file.
   * There is no instance yet that could be asked for an error: one may stand
   * in the reply, in the form of `last_error`.
   */
  EngineStatus (*describe)(EngineReply reply);

  /*
   * Makes an instance. `request`: {"config": {…}, "pipeline", "stage",
   * "folder", "remembered", "takes"}; the configuration has been checked against
   * the schema, secrets and templates are filled in; relative paths are relative
   * to `folder`. Sinks: "takes" is what comes, "rows" or "files"; with
   * "nameless" a format makes them, and they have no names.
   * Looks at the configuration only and reaches nothing outside: `engine
   * validate` calls it too. When it fails, *instance is still set (unless
   * memory is out), to something that takes last_error and close only.
   */
  EngineStatus (*open)(const EngineHost *host, EngineText request, EngineInstance **instance);

  /*
   * Tries what is needed to work: reaches the server, logs in, finds the table.
   * Changes nothing. Answers {"summary": "PostgreSQL 15.18, table found"}.
   */
  EngineStatus (*check)(EngineInstance *instance, EngineReply reply);

  /*
   * Sources: cuts what there is to read. `request`: {"cursor": value or null,
   * "upper"?: value, "undelivered"?: splits}; `upper`, where to end, only if the
   * description says "ranges"; `undelivered`, what earlier plans with "tell" hold
   * that some sink misses: without a cursor, it must not be planned again.
   * Answers {"upper": value or null, "splits": [{"id", "spec": {…},
   * "estimated_rows", "cut"}], "tell"?: true}. With "tell" the engine calls
   * `delivered` once every sink has all of the splits. `spec` must hold all that `read`
   * needs to give the same rows again, on another machine too. A split that is
   * one file may say "cut": {"bytes", "every"}: the engine may then make
   * several splits of it, whose `spec` has a member "range", {"head", "from",
   * "to", "lines"}. `read` gives the file's first `head` bytes, then those from
   * `from` up to `to`, and puts the range into the metadata of its schema.
   */
  EngineStatus (*plan)(EngineInstance *instance, EngineText request, EngineReply reply);

  /* Sources: opens a stream of one split, as `plan` described it. */
  EngineStatus (*read)(EngineInstance *instance, EngineText split, struct ArrowArrayStream *out);

  /* Push sources: takes records in through host->append until cancelled. */
  EngineStatus (*listen)(EngineInstance *instance);

  /*
   * Transforms and formats: puts a stream in front of another. Takes over
   * `in` whatever it answers, and releases it.
   */
  EngineStatus (*apply)(EngineInstance *instance, int32_t direction,
                        struct ArrowArrayStream *in, struct ArrowArrayStream *out);

  /*
   * Sinks. `run`: {"state", "pipeline", "sink", "window", "splits": [ids], "replay": bool}.
   * Answers {"parallel": true} when splits of this window may be delivered by
   * several instances at the same time and in any order. After {} one instance
   * delivers them one after the other, in their order.
   */
  EngineStatus (*begin_run)(EngineInstance *instance, EngineText run, EngineReply reply);

  /*
   * Sinks. `delivery`: {"key", "state", "pipeline", "sink", "window", "split",
   * "settled_before", "sealed", "answered"?, "given_up"?: {"code", "reason"}}.
   * `key` is what the other side keeps; windows below `settled_before` never come
   * again, so what is kept about them can go. `sealed` is what `write` answered
   * before a crash, if it got so far; `answered` are the parts of the receipt that
   * earlier attempts have kept, and comes here only. With `given_up` the attempts
   * are spent, and something was answered in one of them: `write` tries nothing
   * any more, counts rows that `answered` names as taken, and refuses the others
   * with this code and reason.
   * Answers {"status": "new"} | {"status": "sealed"} |
   * {"status": "committed", "receipt": {…}}.
   */
  EngineStatus (*begin_split)(EngineInstance *instance, EngineText delivery, EngineReply reply);

  /*
   * Sinks: takes `in` to its end (or fails), and releases it in any case.
   * Answers {"rows", "bytes", "sha256"?, "parts"?: [{…}]}: what will be
   * committed. `rows` counts rows taken, without the rejected ones; for a sink
   * that takes files it is 0, since only the encoder knows.
   */
  EngineStatus (*write)(EngineInstance *instance, EngineText delivery,
                        struct ArrowArrayStream *in, EngineReply reply);

  /*
   * Sinks: makes the delivery visible and answers with its receipt: {"rows",
   * "bytes", "sha256"?, "location"?, "figures"?: {NAME: integer}, "alerts"?:
   * [{"key", "message"}], "detail"?}. Figures are numbers that the other side
   * told; alerts are what somebody should be told of, once for each key in a run.
   */
  EngineStatus (*commit)(EngineInstance *instance, EngineText delivery, EngineReply reply);

  /*
   * Sinks: throws away what an unfinished delivery has left. Idempotent. Fails
   * where some of it is visible already and has to stay, without doing anything.
   */
  EngineStatus (*abort)(EngineInstance *instance, EngineText delivery);

  /* Sinks: after the last commit of a window. Idempotent. */
  EngineStatus (*finish_run)(EngineInstance *instance, EngineText run);

  /*
   * Answers with the last error of this instance: {"kind", "message", "hint",
   * "retry_after_ms"}. Only `message` must be there. It stays until the next
   * call fails.
   */
  void (*last_error)(EngineInstance *instance, EngineReply reply);

  /* Releases everything. Streams of the instance have been released before. */
  void (*close)(EngineInstance *instance);

  /*
   * States: takes the state, or says that this holder still has it. `request`:
   * {"holder", "shown", "former"?, "lease_ms"}. It is free when nobody holds it,
   * when `former` does, or when the holder's last sign of life is older than its
   * lease. Answers {"sequence", "layout", "last"?, "positions"?}; 0, 0 and
   * nothing of a state that is empty. `positions` says, by the names of
   * pipelines, where those begin that have never had a window: what the database
   * holds of them from before. ENGINE_UNAVAILABLE while another holds it, whom
   * the message names as `shown`, with the time of its last sign of life.
   */
  EngineStatus (*acquire)(EngineInstance *instance, EngineText request, EngineReply reply);

  /*
   * States: opens a stream of all documents, with the columns `collection`,
   * `key` and `document` (Utf8, not null). `key` is JSON text of an array,
   * `document` of an object, as they came in `store`.
   */
  EngineStatus (*load)(EngineInstance *instance, struct ArrowArrayStream *out);

  /*
   * States: one transaction. `request`: {"holder", "id", "after", "sequence",
   * "layout", "changes": [{"collection", "key", "document" or absent: gone}]}.
   * ENGINE_DENIED unless this holder has the state and it has had `after` changes
   * so far. It then has `sequence`, and `id` is its last one's. Also a sign of
   * life, and nothing else without changes where `after` is `sequence`.
   * Beside them "operations"?: [{"pipeline", "position"?, "runs"?: [{"id",
   * "trigger", "started", "ended"?, "outcome"?, "windows"?: [{"id", "lower"?,
   * "upper"?}], "report"?}]}] says what pipelines have done with these changes,
   * for whoever looks into the database; nothing of it comes back.
   */
  EngineStatus (*store)(EngineInstance *instance, EngineText request);

  /* States: {"holder"} gives the state back. Nothing if it is another's. */
  EngineStatus (*release)(EngineInstance *instance, EngineText request);

  /*
   * Transforms whose description says "narrows": true: how much of the stream
   * this instance must see, by its configuration, and never more than the
   * description's "scope". Reaches nothing outside. Answers {"scope": "row"}.
   */
  EngineStatus (*scope)(EngineInstance *instance, EngineReply reply);

  /*
   * Sources whose plan says "tell": every sink has all of a window, and the
   * engine remembers that. `window`: {"pipeline", "window", "splits": as
   * planned}. Called on any instance of the pipeline's present configuration, or
   * where that has another source, of the one that the window was planned with,
   * until it has worked once; after a crash again, though it may have worked.
   * What has changed since it was planned was not delivered.
   */
  EngineStatus (*delivered)(EngineInstance *instance, EngineText window);
} EngineComponent;

/* ---- A module ---------------------------------------------------------------- */

typedef struct EngineModule {
  uint32_t size;
  /* ENGINE_ABI_VERSION of the header that the module was built with. */
  uint32_t abi_version;
  EngineText name;
  EngineText version;
  size_t component_count;
  const EngineComponent *const *components;
} EngineModule;

/* The one symbol that a module exports. Called once. */
const EngineModule *engine_module_v1(void);

/*
 * Who a module is can be read without running it, from a section of its file:
 * JSON, {"abi": 1, "name": "csv", "version": "0.1.0",
 *        "components": [{"kind": "format", "name": "csv"}]}.
 */
#if defined(__APPLE__)
#define ENGINE_MANIFEST(json)                                                   \
  __attribute__((used, section("__DATA,engine_manifest")))                      \
  static const char engine_manifest_json[] = json
#else
#define ENGINE_MANIFEST(json)                                                   \
  __attribute__((used, section("engine_manifest")))                             \
  static const char engine_manifest_json[] = json
#endif

#ifdef __cplusplus
}
#endif

#endif /* ENGINE_PLUGIN_H */
