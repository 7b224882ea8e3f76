/*
 * faulty.c: a module whose table breaks one rule of plugin.h, chosen when it is
 * built: cc -DFAULT=<one of these>. Nothing in it ever runs but `describe`.
 */
#include "plugin.h"

/* Breaks nothing that can be seen before it is opened. */
#define SOUND 0
/* The manifest is of another version of the interface. */
#define OTHER_ABI_IN_MANIFEST 1
/* The manifest is right, the table is of another version. */
#define OTHER_ABI_IN_TABLE 2
/* The manifest lists a component that the table does not have. */
#define MANIFEST_LISTS_MORE 3
/* There is a manifest, but no function that gives the table. */
#define NO_SYMBOL 4
/* The function gives no table. */
#define NO_TABLE 5
/* The table of the component ends before the calls that its kind must have. */
#define SHORT_COMPONENT 6
/* The description is not JSON. */
#define BAD_DESCRIPTION 7
/* The kind is a number that nobody knows. */
#define UNKNOWN_KIND 8
/* The manifest is not JSON. */
#define BAD_MANIFEST 9
/* The component's name is one that no pipeline could write everywhere. */
#define BAD_NAME 10

#ifndef FAULT
#define FAULT SOUND
#endif

#define COMPONENT "{\"kind\": \"transform\", \"name\": \"faulty\"}"
#if FAULT == OTHER_ABI_IN_MANIFEST
ENGINE_MANIFEST("{\"abi\": 99, \"name\": \"faulty\", \"version\": \"1.0.0\", \"components\": [" COMPONENT "]}");
#elif FAULT == MANIFEST_LISTS_MORE
ENGINE_MANIFEST("{\"abi\": 1, \"name\": \"faulty\", \"version\": \"1.0.0\", \"components\": [" COMPONENT
                ", {\"kind\": \"sink\", \"name\": \"missing\"}]}");
#elif FAULT == BAD_NAME
ENGINE_MANIFEST("{\"abi\": 1, \"name\": \"faulty\", \"version\": \"1.0.0\", \"components\": ["
                "{\"kind\": \"transform\", \"name\": \"Faulty-1\"}]}");
#elif FAULT == BAD_MANIFEST
ENGINE_MANIFEST("abi = 1");
#else
ENGINE_MANIFEST("{\"abi\": 1, \"name\": \"faulty\", \"version\": \"1.0.0\", \"components\": [" COMPONENT "]}");
#endif

static EngineStatus describe(EngineReply reply) {
#if FAULT == BAD_DESCRIPTION
  static const char text[] = "a transform";
#else
  static const char text[] = "{\"summary\": \"Nothing\", \"schema\": {\"type\": \"object\"}}";
#endif
  EngineText answer = {text, sizeof text - 1};
  reply.put(reply.context, answer);
  return ENGINE_OK;
}

static EngineStatus open_it(const EngineHost *host, EngineText request, EngineInstance **instance) {
  (void)host, (void)request;
  *instance = NULL;
  return ENGINE_INTERNAL;
}

static EngineStatus check(EngineInstance *instance, EngineReply reply) {
  (void)instance, (void)reply;
  return ENGINE_INTERNAL;
}

static EngineStatus apply(EngineInstance *instance, int32_t direction, struct ArrowArrayStream *in,
                          struct ArrowArrayStream *out) {
  (void)instance, (void)direction, (void)out;
  in->release(in);
  return ENGINE_INTERNAL;
}

static void last_error(EngineInstance *instance, EngineReply reply) { (void)instance, (void)reply; }

static void close_it(EngineInstance *instance) { (void)instance; }

static const EngineComponent component = {
    .size = FAULT == SHORT_COMPONENT ? offsetof(EngineComponent, check) : sizeof(EngineComponent),
    .kind = FAULT == UNKNOWN_KIND ? 42 : ENGINE_TRANSFORM,
    .name = {"faulty", 6},
    .describe = describe,
    .open = open_it,
    .check = check,
    .apply = apply,
    .last_error = last_error,
    .close = close_it,
};

static const EngineComponent *const components[] = {&component};

static const EngineModule module = {
    .size = sizeof(EngineModule),
    .abi_version = FAULT == OTHER_ABI_IN_TABLE ? 99 : ENGINE_ABI_VERSION,
    .name = {"faulty", 6},
    .version = {"1.0.0", 5},
    .component_count = 1,
    .components = components,
};

#if FAULT == NO_SYMBOL
#define ENTRY nothing_that_is_looked_for
const EngineModule *ENTRY(void);
#else
#define ENTRY engine_module_v1
#endif

__attribute__((visibility("default"))) const EngineModule *ENTRY(void) { return FAULT == NO_TABLE ? NULL : &module; }
