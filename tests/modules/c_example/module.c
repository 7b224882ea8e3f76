/*
 * module.c: the module itself: its table, its manifest, and what its two
 * components share. count.c and upper.c are the components.
 */
#include <stdio.h>
#include <string.h>

#include "example.h"

/* ---- Errors and answers ------------------------------------------------------ */

EngineStatus fail(Failure *failure, EngineStatus kind, const char *message, const char *hint) {
  failure->kind = kind;
  snprintf(failure->message, sizeof failure->message, "%s", message);
  snprintf(failure->hint, sizeof failure->hint, "%s", hint);
  return kind;
}

void put(EngineReply reply, const char *text) {
  EngineText piece = {text, strlen(text)};
  reply.put(reply.context, piece);
}

/* Puts a text in quotes. Messages may hold anything, so what JSON forbids is escaped. */
static void put_quoted(EngineReply reply, const char *text) {
  put(reply, "\"");
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    char escaped[8];
    if (c == '"' || c == '\\') {
      snprintf(escaped, sizeof escaped, "\\%c", c);
      put(reply, escaped);
    } else if (c < 0x20) {
      snprintf(escaped, sizeof escaped, "\\u%04x", c);
      put(reply, escaped);
    } else {
      EngineText plain = {text, 1};
      reply.put(reply.context, plain);
    }
  }
  put(reply, "\"");
}

void reply_failure(const Failure *failure, EngineReply reply) {
  /* Indexed by ENGINE_CONFIG, ENGINE_DENIED and so on. */
  static const char *const words[] = {"internal", "config",   "denied",   "unavailable",
                                      "rate_limited", "rejected", "internal", "cancelled"};
  bool known = failure->kind >= ENGINE_CONFIG && failure->kind <= ENGINE_CANCELLED;
  put(reply, "{\"kind\": \"");
  put(reply, words[known ? failure->kind : 0]);
  put(reply, "\", \"message\": ");
  put_quoted(reply, failure->message);
  if (failure->hint[0] != '\0') {
    put(reply, ", \"hint\": ");
    put_quoted(reply, failure->hint);
  }
  put(reply, "}");
}

/* ---- The module ---------------------------------------------------------------- */

/*
 * The same facts twice: here for whoever only reads the file, below for whoever
 * loads it. The conformance suite compares the two.
 */
ENGINE_MANIFEST("{\"abi\": 1, \"name\": \"c_example\", \"version\": \"1.0.0\", \"components\": ["
                "{\"kind\": \"source\", \"name\": \"c_count\"}, "
                "{\"kind\": \"transform\", \"name\": \"c_upper\"}]}");

static const EngineComponent *const components[] = {&count_component, &upper_component};

static const EngineModule module = {
    .size = sizeof(EngineModule),
    .abi_version = ENGINE_ABI_VERSION,
    .name = {"c_example", 9},
    .version = {"1.0.0", 5},
    .component_count = sizeof components / sizeof components[0],
    .components = components,
};

/* Everything else is hidden by -fvisibility=hidden: one module must not see another's names. */
__attribute__((visibility("default"))) const EngineModule *engine_module_v1(void) { return &module; }
