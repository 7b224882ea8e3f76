/* A driver of ADBC 1.0 that can do next to nothing: it connects to nowhere, has no transactions, takes
 * no values, runs no query, and loses the last row of a bulk ingest into the table `short`. What it
 * leaves out is answered as not implemented. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t status;
enum { OK = 0, NOT_IMPLEMENTED = 2 };

struct array {
  int64_t length;
  int64_t counts[4];
  void *buffers, *children, *dictionary;
  void (*release)(struct array *);
  void *private_data;
};

struct stream {
  int (*get_schema)(struct stream *, void *);
  int (*get_next)(struct stream *, struct array *);
  const char *(*get_last_error)(struct stream *);
  void (*release)(struct stream *);
  void *private_data;
};

struct handle {
  void *private_data;
  void *private_driver;
};

struct statement {
  struct stream stream;
  int is_short;
};

/* All members of a driver of 1.0, in their order. */
struct driver {
  void *private_data, *private_manager;
  void *release;
  void *database_init, *database_new, *database_set_option, *database_release;
  void *connection_commit, *connection_get_info, *connection_get_objects, *connection_get_table_schema,
      *connection_get_table_types, *connection_init, *connection_new, *connection_set_option,
      *connection_read_partition, *connection_release, *connection_rollback;
  void *statement_bind, *statement_bind_stream, *statement_execute_query, *statement_execute_partitions,
      *statement_get_parameter_schema, *statement_new, *statement_prepare, *statement_release,
      *statement_set_option, *statement_set_sql_query, *statement_set_substrait_plan;
};

static status fine(struct handle *handle, void *error) {
  (void)handle, (void)error;
  return OK;
}

static status connection_init(struct handle *connection, struct handle *database, void *error) {
  (void)connection, (void)database, (void)error;
  return OK;
}

static status statement_new(struct handle *connection, struct handle *statement, void *error) {
  (void)connection, (void)error;
  statement->private_data = calloc(1, sizeof(struct statement));
  return OK;
}

static status statement_release(struct handle *handle, void *error) {
  (void)error;
  struct statement *statement = handle->private_data;
  if (statement && statement->stream.release) statement->stream.release(&statement->stream);
  free(statement);
  handle->private_data = NULL;
  return OK;
}

static status statement_set_option(struct handle *handle, const char *name, const char *value, void *error) {
  (void)error;
  struct statement *statement = handle->private_data;
  if (!strcmp(name, "adbc.ingest.target_table")) statement->is_short = !strcmp(value, "short");
  return OK;
}

static status statement_set_sql_query(struct handle *handle, const char *query, void *error) {
  (void)handle, (void)query, (void)error;
  return OK;
}

static status statement_bind_stream(struct handle *handle, struct stream *stream, void *error) {
  (void)error;
  struct statement *statement = handle->private_data;
  statement->stream = *stream;
  stream->release = NULL;
  return OK;
}

static status statement_execute_query(struct handle *handle, struct stream *out, int64_t *rows, void *error) {
  (void)out, (void)error;
  struct statement *statement = handle->private_data;
  if (!statement->stream.release) return NOT_IMPLEMENTED;
  int64_t written = statement->is_short ? -1 : 0;
  for (;;) {
    struct array batch = {0};
    if (statement->stream.get_next(&statement->stream, &batch)) return NOT_IMPLEMENTED;
    if (!batch.release) break;
    written += batch.length;
    batch.release(&batch);
  }
  if (rows) *rows = written;
  return OK;
}

status AdbcDriverInit(int version, void *raw, void *error) {
  (void)error;
  if (version != 1000000) return NOT_IMPLEMENTED;
  struct driver *driver = raw;
  driver->database_new = driver->database_init = driver->database_release = (void *)fine;
  driver->connection_new = driver->connection_release = (void *)fine;
  driver->connection_init = (void *)connection_init;
  driver->statement_new = (void *)statement_new;
  driver->statement_release = (void *)statement_release;
  driver->statement_set_option = (void *)statement_set_option;
  driver->statement_set_sql_query = (void *)statement_set_sql_query;
  driver->statement_bind_stream = (void *)statement_bind_stream;
  driver->statement_execute_query = (void *)statement_execute_query;
  return OK;
}
