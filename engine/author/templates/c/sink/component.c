/* Puts every delivery into a folder, as a file of its own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_plugin.h"

static const char *folder;
static FILE *file;

static EngineStatus open_it(const EngineValue *config) {
  folder = engine_path(engine_text(engine_member(config, "folder"), "."));
  return ENGINE_OK;
}

/* The key as a name, which no other delivery has. Readers ignore hidden files. */
static const char *path(const EngineValue *delivery, const char *before, const char *behind) {
  EngineBuffer name = {0};
  engine_print(&name, "%s/%s", folder, before);
  for (const char *at = engine_text(engine_member(delivery, "key"), ""); *at != '\0'; at++) {
    engine_put(&name, *at == '/' ? "." : at, 1);
  }
  engine_print(&name, "%s", behind);
  return name.data;
}
static const char *published(const EngineValue *delivery) { return path(delivery, "", ""); }
static const char *unfinished(const EngineValue *delivery) { return path(delivery, ".", ".part"); }

static bool describe(const EngineValue *delivery, EngineValue *receipt) {
  struct stat found;
  if (stat(published(delivery), &found) != 0) return false;
  engine_set(receipt, "location", engine_new_text(published(delivery)));
  engine_set(receipt, "bytes", engine_new_integer(found.st_size));
  return true;
}

static EngineStatus abort_it(const EngineValue *delivery) {
  if (unlink(unfinished(delivery)) == 0 || errno == ENOENT) return ENGINE_OK;
  return engine_fail_errno("removing", unfinished(delivery));
}

static EngineStatus begin_split(const EngineValue *delivery, EngineValue **receipt) {
  EngineValue *found = engine_new_object();
  if (!describe(delivery, found)) return abort_it(delivery);
  *receipt = found;
  return ENGINE_OK;
}

static EngineStatus start_write(const EngineValue *delivery, const EngineValue *columns) {
  (void)columns;
  if (file != NULL) fclose(file);
  file = fopen(unfinished(delivery), "wb");
  return file == NULL ? engine_fail_errno("creating", unfinished(delivery)) : ENGINE_OK;
}

static EngineStatus write_piece(const char *name, EngineBytes data) {
  return fwrite(data.data, 1, data.length, file) == data.length ? ENGINE_OK : engine_fail_errno("writing", name);
}

static EngineStatus finish_write(const EngineValue *delivery, EngineValue *sealed) {
  (void)sealed;
  bool durable = fflush(file) == 0 && fsync(fileno(file)) == 0;
  durable = fclose(file) == 0 && durable;
  file = NULL;
  return durable ? ENGINE_OK : engine_fail_errno("writing", unfinished(delivery));
}

static EngineStatus commit(const EngineValue *delivery, EngineValue *receipt) {
  if (describe(delivery, receipt)) return ENGINE_OK;
  if (rename(unfinished(delivery), published(delivery)) != 0)
    return engine_fail_errno("publishing", published(delivery));
  describe(delivery, receipt);
  return ENGINE_OK;
}

static const EngineSetting settings[] = {
    {.name = "folder",
     .type = "text",
     .description = "The folder, relative to the pipeline file. It must exist.",
     .format = "template"},
    {0},
};

const EngineComponent engine_component = {
    .name = "{{name}}",
    .summary = "Puts every delivery into a folder, as a file of its own",
    .settings = settings,
    .example = "{\"folder\": \".\"}",
    .members = "{\"takes\": \"files\", \"promise\": \"idempotent\"}",
    .open = open_it,
    .begin_split = begin_split,
    .start_write = start_write,
    .write_piece = write_piece,
    .finish_write = finish_write,
    .commit = commit,
    .abort = abort_it,
};
