/*
 * example.h: what the two components of this module share: how an error is
 * kept until the engine asks for it, how texts are answered, and a reader for
 * the little JSON that crosses the border.
 */
#ifndef C_EXAMPLE_H
#define C_EXAMPLE_H

#include <stdbool.h>

#include "plugin.h"

/* What a stream's get_next answers when it was asked to stop: ECANCELED. */
#define STREAM_CANCELLED 125
/* What it answers for every other error: EIO. The kind is in last_error. */
#define STREAM_FAILED 5

/* ---- Errors --------------------------------------------------------------- */

/*
 * The last error of one instance. Every instance has one, so that the engine
 * can ask for it later; longer texts are cut.
 */
typedef struct Failure {
  EngineStatus kind;
  char message[256];
  char hint[160];
} Failure;

/* Keeps an error and answers with its kind: `return fail(&f, ENGINE_CONFIG, "...", "...");`. */
EngineStatus fail(Failure *failure, EngineStatus kind, const char *message, const char *hint);

/* Answers `last_error`. */
void reply_failure(const Failure *failure, EngineReply reply);

/* ---- Answers --------------------------------------------------------------- */

/* Answers with a piece of a text that is JSON already. */
void put(EngineReply reply, const char *text);

/* ---- Reading JSON ----------------------------------------------------------- */

/*
 * A place in a JSON text. The readers below move it on and answer false when
 * the text there is something else.
 */
typedef struct Json {
  const char *at;
  const char *end;
} Json;

Json json(EngineText text);

/* Goes into an object: `{`. */
bool json_enter(Json *json);

/*
 * The next member of an object that was entered: its name goes to `name`
 * (names that do not fit are cut), and `json` stands at its value, which the
 * caller must read or skip. Answers 1 for a member, 0 at the end, -1 when the
 * text is not JSON.
 */
int json_member(Json *json, char *name, size_t name_size);

/* A whole number, without fraction or exponent. */
bool json_integer(Json *json, int64_t *value);

/* A text, with a NUL at its end. Answers false too when it does not fit. */
bool json_text(Json *json, char *value, size_t value_size);

/* Any value. */
bool json_skip(Json *json);

/* ---- The components ---------------------------------------------------------- */

extern const EngineComponent count_component;
extern const EngineComponent upper_component;

#endif /* C_EXAMPLE_H */
