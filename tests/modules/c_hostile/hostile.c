/*
 * hostile.c: a transform that does to its process what no module should. The
 * configuration says what and when: {"fault": "segfault", "in": "check"}. It is
 * for processes of its own: loaded into the engine, most of it ends the engine.
 *
 * Where it makes processes it makes few, which end by themselves within seconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugin.h"

/* What a bomb of processes may make at most, should anything let it. */
#define MOST_PROCESSES 64

ENGINE_MANIFEST("{\"abi\": 1, \"name\": \"hostile\", \"version\": \"1.0.0\","
                "\"components\": [{\"kind\": \"transform\", \"name\": \"hostile\"}]}");

struct EngineInstance {
  char request[4096];
  const EngineHost *host;
  struct ArrowArrayStream in;
  /* What `check` answers. */
  char found[256];
};

static volatile int sink;
static char *volatile nowhere;

static int asked_for(const struct EngineInstance *self, const char *member, const char *value) {
  char text[128];
  snprintf(text, sizeof text, "\"%s\":\"%s\"", member, value);
  return strstr(self->request, text) != NULL;
}

static void loop_for_ever(void) {
  for (;;) sink++;
}

static void deadlock(void) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  pthread_mutex_lock(&lock);
}

static int dig(int depth) {
  volatile char hole[4096];
  hole[depth % 4096] = 1;
  return depth < 0 ? 0 : dig(depth + 1) + hole[0];
}

/* Takes memory until there is none, and looks as little at the answer as many do. */
static void take_memory(int touch) {
  const size_t piece = 1 << 20;
  for (;;) {
    char *taken = malloc(piece);
    if (taken == NULL) *nowhere = 1;
    if (touch) memset(taken, 1, piece);
  }
}

static void make_processes(struct EngineInstance *self) {
  int made = 0;
  pid_t first[MOST_PROCESSES];
  for (int at = 0; at < MOST_PROCESSES; at++) {
    pid_t pid = fork();
    if (pid == 0) {
      alarm(5);
      pause();
      _exit(0);
    }
    if (pid > 0) first[made++] = pid;
  }
  int why = errno;
  char *arguments[] = {"true", NULL};
  pid_t spawned;
  int refused = posix_spawnp(&spawned, "true", NULL, NULL, arguments, NULL);
  if (refused == 0) first[made < MOST_PROCESSES ? made++ : 0] = spawned;
  snprintf(self->found, sizeof self->found, "%d processes (%s, %s)", made, strerror(why), strerror(refused));
  for (int at = 0; at < made; at++) {
    kill(first[at], SIGKILL);
    waitpid(first[at], NULL, 0);
  }
}

static void *answer_at_once(void *nothing) { return nothing; }

static void make_a_thread(struct EngineInstance *self) {
  pthread_t thread;
  int error = pthread_create(&thread, NULL, answer_at_once, NULL);
  if (error == 0) error = pthread_join(thread, NULL);
  snprintf(self->found, sizeof self->found, "threads: %s", error == 0 ? "as ever" : strerror(error));
}

static void make_noise(void) {
  for (int line = 0; line < 5000; line++) {
    printf("noise %d\n", line);
    fprintf(stderr, "NOISE %d\n", line);
  }
  for (int at = 0; at < 100000; at++) putchar('x');
  fflush(stdout);
}

static void show_environment(struct EngineInstance *self) {
  const char *secret = getenv("ENGINE_TEST_SECRET"), *granted = getenv("ENGINE_TEST_GRANTED"), *path = getenv("PATH");
  snprintf(self->found, sizeof self->found, "secret: %s, granted: %s, path: %s", secret ? secret : "unknown",
           granted ? granted : "unknown", path ? "known" : "unknown");
}

/* Does what the configuration says, if it says so of this call. */
static void act(struct EngineInstance *self, const char *call) {
  if (!asked_for(self, "in", call)) return;
  if (asked_for(self, "fault", "segfault")) *nowhere = 1;
  if (asked_for(self, "fault", "abort")) abort();
  if (asked_for(self, "fault", "exit_0")) exit(0);
  if (asked_for(self, "fault", "exit_3")) exit(3);
  if (asked_for(self, "fault", "kill")) kill(getpid(), SIGKILL);
  if (asked_for(self, "fault", "loop")) loop_for_ever();
  if (asked_for(self, "fault", "deadlock")) deadlock();
  if (asked_for(self, "fault", "deep")) sink = dig(0);
  if (asked_for(self, "fault", "memory")) take_memory(1);
  if (asked_for(self, "fault", "address_space")) take_memory(0);
  if (asked_for(self, "fault", "processes")) make_processes(self);
  if (asked_for(self, "fault", "thread")) make_a_thread(self);
  if (asked_for(self, "fault", "noise")) make_noise();
  if (asked_for(self, "fault", "environment")) show_environment(self);
  if (asked_for(self, "fault", "pid")) snprintf(self->found, sizeof self->found, "%d", (int)getpid());
  if (asked_for(self, "fault", "close_files"))
    for (int descriptor = 3; descriptor < 1024; descriptor++) close(descriptor);
  if (asked_for(self, "fault", "log"))
    for (;;) self->host->log(self->host->context, ENGINE_LOG_DEBUG, (EngineText){"still there", 11});
}

static EngineStatus describe(EngineReply reply) {
  static const char text[] = "{\"summary\": \"Does harm\", \"schema\": {\"type\": \"object\"}}";
  reply.put(reply.context, (EngineText){text, sizeof text - 1});
  return ENGINE_OK;
}

static EngineStatus open_it(const EngineHost *host, EngineText request, EngineInstance **instance) {
  EngineInstance *self = calloc(1, sizeof *self);
  *instance = self;
  if (self == NULL || request.length >= sizeof self->request) return ENGINE_CONFIG;
  memcpy(self->request, request.data, request.length);
  self->host = host;
  strcpy(self->found, "harmless");
  act(self, "open");
  return ENGINE_OK;
}

static EngineStatus check(EngineInstance *self, EngineReply reply) {
  act(self, "check");
  char text[320];
  int length = snprintf(text, sizeof text, "{\"summary\": \"%s\"}", self->found);
  reply.put(reply.context, (EngineText){text, (size_t)length});
  return ENGINE_OK;
}

static int get_schema(struct ArrowArrayStream *out, struct ArrowSchema *schema) {
  EngineInstance *self = out->private_data;
  return self->in.get_schema(&self->in, schema);
}

static int get_next(struct ArrowArrayStream *out, struct ArrowArray *array) {
  EngineInstance *self = out->private_data;
  act(self, "apply");
  int answer = self->in.get_next(&self->in, array);
  if (answer == 0 && array->release != NULL && asked_for(self, "fault", "bad_pointers"))
    for (int64_t child = 0; child < array->n_children; child++) {
      struct ArrowArray *column = array->children[child];
      for (int64_t at = 0; at < column->n_buffers; at++) column->buffers[at] = (void *)(uintptr_t)64;
    }
  return answer;
}

static const char *get_last_error(struct ArrowArrayStream *out) {
  EngineInstance *self = out->private_data;
  return self->in.get_last_error(&self->in);
}

static void release(struct ArrowArrayStream *out) {
  EngineInstance *self = out->private_data;
  if (self->in.release != NULL) self->in.release(&self->in);
  self->in.release = NULL;
  out->release = NULL;
}

static EngineStatus apply(EngineInstance *self, int32_t direction, struct ArrowArrayStream *in,
                          struct ArrowArrayStream *out) {
  (void)direction;
  self->in = *in;
  in->release = NULL;
  *out = (struct ArrowArrayStream){get_schema, get_next, get_last_error, release, self};
  return ENGINE_OK;
}

static void last_error(EngineInstance *self, EngineReply reply) { (void)self, (void)reply; }

static void close_it(EngineInstance *self) {
  act(self, "close");
  free(self);
}

static const EngineComponent component = {
    .size = sizeof(EngineComponent),
    .kind = ENGINE_TRANSFORM,
    .name = {"hostile", 7},
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
    .abi_version = ENGINE_ABI_VERSION,
    .name = {"hostile", 7},
    .version = {"1.0.0", 5},
    .component_count = 1,
    .components = components,
};

__attribute__((visibility("default"))) const EngineModule *engine_module_v1(void) { return &module; }
