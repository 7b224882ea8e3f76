/*
 * engine_plugin.c: the engine's kit for components in C. Not to be edited; what
 * it offers stands in engine_plugin.h.
 *
 * The parts: memory, values, JSON, settings, the calls of each kind, the border
 * as the component model has it, and an engine for tests.
 */
#include "engine_plugin.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every kind of component uses a part of what stands here. */
#pragma GCC diagnostic ignored "-Wunused-function"

/* Rows of one batch that a source gives. */
#define BATCH_ROWS 1000
/* The largest piece of a file that is given at once, in bytes. */
#define PIECE_BYTES (1024 * 1024)
/* A line of more bytes becomes a dead letter that keeps its beginning. */
#define LONGEST_LINE_BYTES (16 * 1024 * 1024)
/* Deeper values are refused, so that no text can exhaust the stack. */
#define DEEPEST 128

/* ---- Memory --------------------------------------------------------------------- */

typedef struct Chunk {
  struct Chunk *before;
  size_t room;
  size_t used;
} Chunk;

/* Memory that is freed all at once. */
typedef struct Arena {
  Chunk *last;
} Arena;

#define CHUNK_BYTES (64 * 1024 - sizeof(Chunk))
/* Enough for every type. */
#define ALIGNMENT 8

static Arena of_instance, of_stream, of_call;
/* Where values are made: that of the call, except in `open`, `read` and `start`. */
static Arena *arena = &of_call;

static void *take_from(Arena *from, size_t size) {
  size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (from->last == NULL || from->last->room - from->last->used < size) {
    size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
    Chunk *chunk = malloc(sizeof *chunk + room);
    if (chunk == NULL) abort();
    *chunk = (Chunk){from->last, room, 0};
    from->last = chunk;
  }
  void *taken = (char *)(from->last + 1) + from->last->used;
  from->last->used += size;
  return taken;
}

static void *take(size_t size) { return take_from(arena, size); }

static void clear(Arena *of) {
  while (of->last != NULL) {
    Chunk *before = of->last->before;
    free(of->last);
    of->last = before;
  }
}

static char *copy(const char *text, size_t length) {
  char *made = take(length + 1);
  if (length > 0) memcpy(made, text, length);
  made[length] = '\0';
  return made;
}

void engine_put(EngineBuffer *buffer, const void *data, size_t length) {
  if (buffer->room - buffer->length <= length) {
    size_t room = (buffer->length + length + 1) * 2;
    char *grown = take(room);
    if (buffer->length > 0) memcpy(grown, buffer->data, buffer->length);
    buffer->data = grown;
    buffer->room = room;
  }
  if (length > 0) memcpy(buffer->data + buffer->length, data, length);
  buffer->length += length;
  buffer->data[buffer->length] = '\0';
}

static void put_text(EngineBuffer *buffer, const char *text) { engine_put(buffer, text, strlen(text)); }

static EngineBytes printed(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (length < 0) return (EngineBytes){"", 0};
  char *text = take((size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, arguments);
  return (EngineBytes){text, (size_t)length};
}

void engine_print(EngineBuffer *buffer, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  EngineBytes text = printed(format, arguments);
  va_end(arguments);
  engine_put(buffer, text.data, text.length);
}

/* ---- Errors --------------------------------------------------------------------- */

/* The last error, for the answer of the call that failed. Lives as long as that call. */
static struct Failure {
  EngineStatus kind;
  const char *message;
  const char *hint;
  uint64_t retry_after_ms;
} failure;

static struct Refusal {
  const char *code;
  const char *reason;
} refusal;

static const char *for_this_call(EngineBytes text) {
  char *kept = take_from(&of_call, text.length + 1);
  memcpy(kept, text.data, text.length + 1);
  return kept;
}

EngineStatus engine_fail(EngineStatus kind, const char *hint, const char *message, ...) {
  va_list arguments;
  va_start(arguments, message);
  failure.message = for_this_call(printed(message, arguments));
  va_end(arguments);
  failure.kind = kind;
  failure.hint = hint == NULL ? NULL : for_this_call((EngineBytes){hint, strlen(hint)});
  return kind;
}

void engine_retry_after(uint64_t milliseconds) { failure.retry_after_ms = milliseconds; }

EngineStatus engine_fail_errno(const char *doing, const char *path) {
  EngineStatus kind = ENGINE_UNAVAILABLE;
  int code = errno;
  if (code == ENOENT || code == ENOTDIR || code == EISDIR || code == EINVAL) kind = ENGINE_CONFIG;
  if (code == EACCES || code == EPERM || code == EROFS) kind = ENGINE_DENIED;
#ifdef ENOTCAPABLE
  if (code == ENOTCAPABLE) kind = ENGINE_DENIED;
#endif
  const char *hint = kind == ENGINE_UNAVAILABLE
                         ? NULL
                         : "the pipeline grants folders with `permissions: {read: [FOLDER]}`, or `write`";
  return engine_fail(kind, hint, "%s %s: %s", doing, path, strerror(code));
}

EngineStatus engine_reject(const char *code, const char *reason, ...) {
  va_list arguments;
  va_start(arguments, reason);
  refusal.reason = for_this_call(printed(reason, arguments));
  va_end(arguments);
  refusal.code = code;
  return ENGINE_REFUSED;
}

/* ---- Values --------------------------------------------------------------------- */

typedef enum Kind { NOTHING, TRUTH, NUMBER, TEXT, LIST, OBJECT } Kind;

typedef struct Member {
  const char *name;
  EngineValue *value;
} Member;

struct EngineValue {
  Kind kind;
  bool truth;
  /* Of a text, or of a number as JSON writes it: so that no digit is lost. */
  EngineBytes text;
  /* Of an object; of a list without names. */
  Member *members;
  size_t count;
  size_t room;
};

static EngineValue *make(Kind kind) {
  EngineValue *value = take(sizeof *value);
  memset(value, 0, sizeof *value);
  value->kind = kind;
  return value;
}

static bool is(const EngineValue *value, Kind kind) { return value != NULL && value->kind == kind; }

static Member *find(const EngineValue *object, const char *name) {
  if (!is(object, OBJECT) || name == NULL) return NULL;
  for (size_t at = 0; at < object->count; at++) {
    if (strcmp(object->members[at].name, name) == 0) return &object->members[at];
  }
  return NULL;
}

static void grow(EngineValue *value, const char *name, EngineValue *member) {
  if (value->count == value->room) {
    size_t room = value->room == 0 ? 8 : value->room * 2;
    Member *members = take(room * sizeof *members);
    if (value->count > 0) memcpy(members, value->members, value->count * sizeof *members);
    value->members = members;
    value->room = room;
  }
  value->members[value->count++] = (Member){name, member};
}

EngineValue *engine_member(const EngineValue *object, const char *name) {
  Member *member = find(object, name);
  return member == NULL ? NULL : member->value;
}

size_t engine_count(const EngineValue *value) { return value == NULL ? 0 : value->count; }

EngineValue *engine_item(const EngineValue *value, size_t at) {
  return at < engine_count(value) ? value->members[at].value : NULL;
}

const char *engine_name(const EngineValue *object, size_t at) {
  return is(object, OBJECT) && at < object->count ? object->members[at].name : NULL;
}

bool engine_is_null(const EngineValue *value) { return value == NULL || value->kind == NOTHING; }

const char *engine_text(const EngineValue *value, const char *otherwise) {
  if (is(value, TEXT) || is(value, NUMBER)) return value->text.data;
  if (is(value, TRUTH)) return value->truth ? "true" : "false";
  return otherwise;
}

EngineBytes engine_text_bytes(const EngineValue *value) {
  if (is(value, TEXT)) return value->text;
  const char *text = engine_text(value, "");
  return (EngineBytes){text, strlen(text)};
}

/* A whole number in a text, with nothing behind it. */
static bool read_integer(const char *text, int64_t *number) {
  const char *at = text + (*text == '-');
  if (*at < '0' || *at > '9') return false;
  /* Collected as a negative number: there is one more of them. */
  int64_t collected = 0;
  for (; *at >= '0' && *at <= '9'; at++) {
    int digit = *at - '0';
    if (collected < (INT64_MIN + digit) / 10) return false;
    collected = collected * 10 - digit;
  }
  if (*at != '\0' || (*text != '-' && collected == INT64_MIN)) return false;
  *number = *text == '-' ? collected : -collected;
  return true;
}

int64_t engine_integer(const EngineValue *value, int64_t otherwise) {
  int64_t number;
  /* Beyond 2^53 they cross as texts. */
  bool text = is(value, NUMBER) || is(value, TEXT);
  return text && read_integer(value->text.data, &number) ? number : otherwise;
}

double engine_number(const EngineValue *value, double otherwise) {
  if (!is(value, NUMBER) && !is(value, TEXT)) return otherwise;
  /* What is not finite crosses as a text: NaN, inf, Infinity. */
  char *end;
  double number = strtod(value->text.data, &end);
  return end == value->text.data || *end != '\0' ? otherwise : number;
}

bool engine_boolean(const EngineValue *value, bool otherwise) { return is(value, TRUTH) ? value->truth : otherwise; }

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

EngineBytes engine_binary(const EngineValue *value) {
  EngineBytes text = engine_text_bytes(value);
  char *data = take(text.length / 4 * 3 + 3);
  size_t length = 0;
  uint32_t bits = 0;
  int count = 0;
  static int8_t places[256];
  if (places[(unsigned char)'B'] == 0) {
    memset(places, -1, sizeof places);
    for (int at = 0; at < 64; at++) places[(unsigned char)base64[at]] = (int8_t)at;
  }
  for (size_t at = 0; at < text.length; at++) {
    int place = places[(unsigned char)text.data[at]];
    if (place < 0) continue;
    bits = bits << 6 | (uint32_t)place;
    count += 6;
    if (count >= 8) data[length++] = (char)(bits >> (count -= 8));
  }
  return (EngineBytes){data, length};
}

EngineValue *engine_new_object(void) { return make(OBJECT); }
EngineValue *engine_new_list(void) { return make(LIST); }
EngineValue *engine_new_null(void) { return make(NOTHING); }
EngineValue *engine_new_text(const char *text) { return engine_new_text_bytes(text, strlen(text)); }

EngineValue *engine_new_text_bytes(const char *text, size_t length) {
  EngineValue *value = make(TEXT);
  value->text = (EngineBytes){copy(text, length), length};
  return value;
}

EngineValue *engine_new_format(const char *format, ...) {
  EngineValue *value = make(TEXT);
  va_list arguments;
  va_start(arguments, format);
  value->text = printed(format, arguments);
  va_end(arguments);
  return value;
}

static EngineValue *number_of(const char *text, size_t length) {
  EngineValue *value = engine_new_text_bytes(text, length);
  value->kind = NUMBER;
  return value;
}

EngineValue *engine_new_integer(int64_t number) {
  char text[24];
  return number_of(text, (size_t)snprintf(text, sizeof text, "%" PRId64, number));
}

EngineValue *engine_new_number(double number) {
  /* JSON has no NaN and no infinity; they cross as texts. */
  if (!isfinite(number)) return engine_new_text(isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
  char text[32];
  int length = 0;
  /* The shortest text that reads back the same. */
  for (int digits = 15; digits <= 17; digits++) {
    length = snprintf(text, sizeof text, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  return number_of(text, (size_t)length);
}

EngineValue *engine_new_boolean(bool boolean) {
  EngineValue *value = make(TRUTH);
  value->truth = boolean;
  return value;
}

EngineValue *engine_new_binary(const void *data, size_t length) {
  const unsigned char *from = data;
  char *text = take(length / 3 * 4 + 5);
  size_t end = 0;
  for (size_t at = 0; at < length; at += 3) {
    size_t left = length - at;
    uint32_t bits = (uint32_t)from[at] << 16;
    if (left > 1) bits |= (uint32_t)from[at + 1] << 8;
    if (left > 2) bits |= from[at + 2];
    text[end++] = base64[bits >> 18];
    text[end++] = base64[bits >> 12 & 63];
    text[end++] = left > 1 ? base64[bits >> 6 & 63] : '=';
    text[end++] = left > 2 ? base64[bits & 63] : '=';
  }
  text[end] = '\0';
  EngineValue *value = make(TEXT);
  value->text = (EngineBytes){text, end};
  return value;
}

void engine_set(EngineValue *object, const char *name, EngineValue *value) {
  if (!is(object, OBJECT)) return;
  Member *member = find(object, name);
  if (member != NULL) {
    member->value = value;
  } else {
    grow(object, copy(name, strlen(name)), value);
  }
}

void engine_remove(EngineValue *object, const char *name) {
  Member *member = find(object, name);
  if (member == NULL) return;
  size_t behind = object->count - (size_t)(member - object->members) - 1;
  memmove(member, member + 1, behind * sizeof *member);
  object->count--;
}

void engine_append(EngineValue *list, EngineValue *value) {
  if (is(list, LIST)) grow(list, NULL, value);
}

/* A value that may be changed without changing the first one. Its members are shared. */
static EngineValue *shallow(const EngineValue *value) {
  EngineValue *made = make(value->kind);
  *made = *value;
  made->room = made->count;
  made->members = take((made->room + 1) * sizeof *made->members);
  if (made->count > 0) memcpy(made->members, value->members, made->count * sizeof *made->members);
  return made;
}

/* ---- JSON to values ---------------------------------------------------------------- */

typedef struct Place {
  const char *at;
  const char *end;
  int depth;
} Place;

static void skip_space(Place *place) {
  while (place->at < place->end &&
         (*place->at == ' ' || *place->at == '\n' || *place->at == '\t' || *place->at == '\r')) {
    place->at++;
  }
}

/* Takes one character, behind spaces. */
static bool takes(Place *place, char wanted) {
  skip_space(place);
  if (place->at == place->end || *place->at != wanted) return false;
  place->at++;
  return true;
}

static bool takes_word(Place *place, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(place->end - place->at) < length || memcmp(place->at, word, length) != 0) return false;
  place->at += length;
  return true;
}

/* Four hexadecimal digits; -1 where there is something else. */
static int32_t hexadecimal(Place *place) {
  if (place->end - place->at < 4) return -1;
  int32_t value = 0;
  for (int digit = 0; digit < 4; digit++) {
    char letter = *place->at++;
    int32_t worth = letter >= '0' && letter <= '9'   ? letter - '0'
                    : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                    : letter >= 'A' && letter <= 'F' ? letter - 'A' + 10
                                                     : -1;
    if (worth < 0) return -1;
    value = value * 16 + worth;
  }
  return value;
}

static char *put_character(char *to, uint32_t character) {
  if (character < 0x80) {
    *to++ = (char)character;
  } else if (character < 0x800) {
    *to++ = (char)(0xC0 | character >> 6);
    *to++ = (char)(0x80 | (character & 0x3F));
  } else if (character < 0x10000) {
    *to++ = (char)(0xE0 | character >> 12);
    *to++ = (char)(0x80 | (character >> 6 & 0x3F));
    *to++ = (char)(0x80 | (character & 0x3F));
  } else {
    *to++ = (char)(0xF0 | character >> 18);
    *to++ = (char)(0x80 | (character >> 12 & 0x3F));
    *to++ = (char)(0x80 | (character >> 6 & 0x3F));
    *to++ = (char)(0x80 | (character & 0x3F));
  }
  return to;
}

/* The character of an escape, behind its backslash; false where it is none. */
static bool escape(Place *place, char **to) {
  static const char letters[] = "\"\\/bfnrt";
  static const char meant[] = "\"\\/\b\f\n\r\t";
  char letter = *place->at++;
  const char *found = letter == '\0' ? NULL : strchr(letters, letter);
  if (found != NULL) {
    *(*to)++ = meant[found - letters];
    return true;
  }
  if (letter != 'u') return false;
  int32_t unit = hexadecimal(place);
  if (unit < 0) return false;
  uint32_t character = (uint32_t)unit;
  if (unit >= 0xD800 && unit < 0xDC00 && takes_word(place, "\\u")) {
    int32_t second = hexadecimal(place);
    if (second < 0xDC00 || second > 0xDFFF) return false;
    character = 0x10000 + ((character - 0xD800) << 10) + ((uint32_t)second - 0xDC00);
  } else if (unit >= 0xD800 && unit < 0xE000) {
    /* Half of a pair: no character. */
    return false;
  }
  *to = put_character(*to, character);
  return true;
}

static bool parse_text(Place *place, EngineBytes *text) {
  if (!takes(place, '"')) return false;
  const char *end = place->at;
  while (end < place->end && *end != '"') end += *end == '\\' ? 2 : 1;
  if (end >= place->end) return false;
  /* No escape is shorter than its character. */
  char *made = take((size_t)(end - place->at) + 1);
  char *to = made;
  while (place->at < end) {
    const char *plain = memchr(place->at, '\\', (size_t)(end - place->at));
    size_t length = (size_t)((plain == NULL ? end : plain) - place->at);
    memcpy(to, place->at, length);
    to += length;
    place->at += length;
    if (plain == NULL) break;
    place->at++;
    if (!escape(place, &to)) return false;
  }
  *to = '\0';
  place->at = end + 1;
  *text = (EngineBytes){made, (size_t)(to - made)};
  return true;
}

static bool digits(Place *place) {
  const char *first = place->at;
  while (place->at < place->end && *place->at >= '0' && *place->at <= '9') place->at++;
  return place->at > first;
}

static EngineValue *parse_number(Place *place) {
  const char *first = place->at;
  if (*place->at == '-') place->at++;
  /* JSON has no zeros in front of a number. */
  if (place->end - place->at > 1 && place->at[0] == '0' && place->at[1] >= '0' && place->at[1] <= '9') return NULL;
  if (!digits(place)) return NULL;
  if (place->at < place->end && *place->at == '.') {
    place->at++;
    if (!digits(place)) return NULL;
  }
  if (place->at < place->end && (*place->at == 'e' || *place->at == 'E')) {
    place->at++;
    if (place->at < place->end && (*place->at == '+' || *place->at == '-')) place->at++;
    if (!digits(place)) return NULL;
  }
  return number_of(first, (size_t)(place->at - first));
}

static EngineValue *parse_value(Place *place);

static EngineValue *parse_members(Place *place, Kind kind, char end) {
  EngineValue *value = make(kind);
  if (++place->depth > DEEPEST) return NULL;
  for (bool first = true; !takes(place, end); first = false) {
    if (!first && !takes(place, ',')) return NULL;
    EngineBytes name = {NULL, 0};
    if (kind == OBJECT && (!parse_text(place, &name) || !takes(place, ':'))) return NULL;
    EngineValue *member = parse_value(place);
    if (member == NULL) return NULL;
    grow(value, name.data, member);
  }
  place->depth--;
  return value;
}

static EngineValue *parse_value(Place *place) {
  skip_space(place);
  if (place->at == place->end) return NULL;
  switch (*place->at) {
    case '{':
      place->at++;
      return parse_members(place, OBJECT, '}');
    case '[':
      place->at++;
      return parse_members(place, LIST, ']');
    case '"': {
      EngineValue *value = make(TEXT);
      return parse_text(place, &value->text) ? value : NULL;
    }
    case 't':
      return takes_word(place, "true") ? engine_new_boolean(true) : NULL;
    case 'f':
      return takes_word(place, "false") ? engine_new_boolean(false) : NULL;
    case 'n':
      return takes_word(place, "null") ? make(NOTHING) : NULL;
    default:
      return parse_number(place);
  }
}

/* NULL where the text is not JSON. */
static EngineValue *parse(EngineBytes text) {
  Place place = {text.data, text.data + text.length, 0};
  EngineValue *value = parse_value(&place);
  skip_space(&place);
  return place.at == place.end ? value : NULL;
}

static EngineValue *parse_literal(const char *text) { return parse((EngineBytes){text, strlen(text)}); }

/* ---- Values to JSON ---------------------------------------------------------------- */

static void write_text(EngineBytes text, EngineBuffer *out) {
  engine_put(out, "\"", 1);
  size_t from = 0;
  for (size_t at = 0; at < text.length; at++) {
    unsigned char letter = (unsigned char)text.data[at];
    if (letter >= ' ' && letter != '"' && letter != '\\') continue;
    engine_put(out, text.data + from, at - from);
    from = at + 1;
    if (letter == '"' || letter == '\\') {
      engine_put(out, (char[]){'\\', (char)letter}, 2);
    } else {
      engine_print(out, "\\u%04x", letter);
    }
  }
  engine_put(out, text.data + from, text.length - from);
  engine_put(out, "\"", 1);
}

static void write_value(const EngineValue *value, EngineBuffer *out) {
  bool object = is(value, OBJECT);
  if (engine_is_null(value)) {
    put_text(out, "null");
  } else if (is(value, TEXT)) {
    write_text(value->text, out);
  } else if (!object && !is(value, LIST)) {
    put_text(out, engine_text(value, "null"));
  } else {
    put_text(out, object ? "{" : "[");
    for (size_t at = 0; at < value->count; at++) {
      if (at > 0) put_text(out, ",");
      if (object) {
        write_text((EngineBytes){value->members[at].name, strlen(value->members[at].name)}, out);
        put_text(out, ":");
      }
      write_value(value->members[at].value, out);
    }
    put_text(out, object ? "}" : "]");
  }
}

static EngineBytes json_of(const EngineValue *value) {
  EngineBuffer out = {0};
  write_value(value, &out);
  return (EngineBytes){out.data, out.length};
}

const char *engine_json(const EngineValue *value) { return json_of(value).data; }

/* ---- Text to the value of a column --------------------------------------------------- */

/* How many bytes of a text are UTF-8. */
static size_t utf8_length(EngineBytes text) {
  size_t at = 0;
  while (at < text.length) {
    unsigned char first = (unsigned char)text.data[at];
    size_t more = first < 0x80                    ? 0
                  : first >= 0xC2 && first < 0xE0 ? 1
                  : first >= 0xE0 && first < 0xF0 ? 2
                  : first >= 0xF0 && first < 0xF5 ? 3
                                                  : 9;
    if (more > text.length - at - 1) return at;
    for (size_t next = 1; next <= more; next++) {
      if (((unsigned char)text.data[at + next] & 0xC0) != 0x80) return at;
    }
    unsigned char second = more == 0 ? 0 : (unsigned char)text.data[at + 1];
    /* Too long a form, half of a pair, or beyond the last character. */
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second >= 0x90)) {
      return at;
    }
    at += more + 1;
  }
  return at;
}

EngineStatus engine_from_text(EngineBytes text, const char *type, EngineValue **value) {
  EngineValue *found = NULL;
  const char *whole = copy(text.data, text.length);
  bool decimal = strncmp(type, "decimal", 7) == 0;
  if (strcmp(type, "integer") == 0) {
    int64_t number;
    if (strlen(whole) == text.length && read_integer(whole, &number)) found = engine_new_integer(number);
  } else if (strcmp(type, "number") == 0 || decimal) {
    char *first = copy(text.data, text.length), *end = first + text.length, *digit = first + (*first == '-');
    while (digit[0] == '0' && digit[1] >= '0' && digit[1] <= '9') memmove(digit, digit + 1, (size_t)(end-- - digit));
    Place place = {first, end, 0};
    if (text.length > 0) found = parse_number(&place);
    if (place.at != place.end) found = NULL;
    bool word = strcmp(whole, "NaN") == 0 || strcmp(whole, "Infinity") == 0 || strcmp(whole, "-Infinity") == 0;
    if (!decimal && word) found = engine_new_text(whole);
  } else if (strcmp(type, "boolean") == 0) {
    if (strcmp(whole, "true") == 0 || strcmp(whole, "false") == 0) found = engine_new_boolean(*whole == 't');
  } else {
    found = engine_new_text_bytes(text.data, text.length);
  }
  *value = found;
  if (found != NULL) return ENGINE_OK;
  /* What stands behind the `(` of decimal(12,2) is no part of a code. */
  return engine_reject(decimal ? "bad_decimal" : engine_text(engine_new_format("bad_%s", type), ""), "`%s` is no %s",
                       whole, type);
}

/* ---- What the engine offers ----------------------------------------------------------- */

/* The calls of plugin.wit's interface `host`; below, once for the engine and once for tests. */
static void host_log(int level, EngineBytes message);
static bool host_cancelled(void);
static int64_t host_deadline(void);
static void host_progress(uint64_t records, uint64_t bytes);
static void host_filtered(uint64_t rows);
static EngineStatus host_reject_record(const char *code, const char *reason, EngineBytes name, EngineBytes data);
static EngineStatus host_reject_rows(const char *code, const char *reason, EngineBytes rows);
static EngineStatus host_receipt(EngineBytes part);
static EngineStatus host_remember(EngineBytes value);

static const char *folder = "";
static const EngineValue *remembered;
/* Rows that `write` refused; a sink's count is what it took less these. */
static uint64_t refused_rows;
/* Records that a decoder has framed and refused, in this call. */
static uint64_t refused_records;
static EngineBytes file_name;

void engine_log(int level, const char *message, ...) {
  va_list arguments;
  va_start(arguments, message);
  host_log(level, printed(message, arguments));
  va_end(arguments);
}

bool engine_cancelled(void) { return host_cancelled(); }
int64_t engine_deadline(void) { return host_deadline(); }
void engine_filtered(uint64_t rows) { host_filtered(rows); }

EngineStatus engine_reject_rows(const char *code, const char *reason, const EngineValue *rows) {
  refused_rows += engine_count(rows);
  return host_reject_rows(code, reason, json_of(rows));
}

EngineStatus engine_reject_record(const char *code, const char *reason, EngineBytes data) {
  refused_records++;
  return host_reject_record(code, reason, file_name, data);
}

EngineStatus engine_receipt(const EngineValue *part) { return host_receipt(json_of(part)); }
EngineStatus engine_remember(const EngineValue *value) { return host_remember(json_of(value)); }
const EngineValue *engine_remembered(void) { return remembered; }

const char *engine_path(const char *path) {
  while (strncmp(path, "./", 2) == 0) path += 2;
  if (*path == '/' || *folder == '\0') return copy(path, strlen(path));
  if (strcmp(path, ".") == 0) return copy(folder, strlen(folder));
  return engine_text(engine_new_format("%s/%s", folder, path), path);
}

static EngineStatus check_cancelled(void) {
  return host_cancelled() ? engine_fail(ENGINE_CANCELLED, NULL, "stopped on request") : ENGINE_OK;
}

/* ---- Settings ---------------------------------------------------------------------------- */

static EngineValue *schema_of_type(const char *type) {
  EngineValue *schema = engine_new_object();
  bool texts = strcmp(type, "texts") == 0, mapping = strcmp(type, "mapping") == 0, text = strcmp(type, "text") == 0;
  engine_set(schema, "type", engine_new_text(texts ? "array" : mapping ? "object" : text ? "string" : type));
  if (texts) engine_set(schema, "items", schema_of_type("text"));
  if (mapping) engine_set(schema, "additionalProperties", schema_of_type("text"));
  return schema;
}

static EngineValue *schema(void) {
  EngineValue *made = parse_literal(
      "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"type\": \"object\","
      " \"additionalProperties\": false, \"properties\": {}, \"required\": []}");
  for (const EngineSetting *setting = engine_component.settings; setting != NULL && setting->name != NULL; setting++) {
    EngineValue *property = schema_of_type(setting->type);
    engine_set(property, "description", engine_new_text(setting->description));
    if (setting->minimum != NULL) engine_set(property, "minimum", parse_literal(setting->minimum));
    if (setting->maximum != NULL) engine_set(property, "maximum", parse_literal(setting->maximum));
    if (setting->format != NULL) engine_set(property, "format", engine_new_text(setting->format));
    if (setting->format != NULL && strcmp(setting->format, "secret") == 0)
      engine_set(property, "writeOnly", engine_new_boolean(true));
    if (setting->otherwise != NULL) {
      engine_set(property, "default", parse_literal(setting->otherwise));
    } else {
      engine_append(engine_member(made, "required"), engine_new_text(setting->name));
    }
    engine_set(engine_member(made, "properties"), setting->name, property);
  }
  return made;
}

static EngineValue *description(void) {
  const EngineComponent *it = &engine_component;
  EngineValue *made = it->members == NULL ? engine_new_object() : parse_literal(it->members);
  engine_set(made, "summary", engine_new_text(it->summary));
  engine_set(made, "schema", schema());
  EngineValue *examples = engine_new_list();
  if (it->example != NULL) {
    EngineValue *example = engine_new_object();
    engine_set(example, "title", engine_new_text(it->example_title == NULL ? it->name : it->example_title));
    engine_set(example, "config", parse_literal(it->example));
    engine_append(examples, example);
  }
  engine_set(made, "examples", examples);
  if (it->decode != NULL || it->decode_line != NULL) engine_set(made, "decodes", engine_new_boolean(true));
  if (it->encode_line != NULL) engine_set(made, "encodes", engine_new_boolean(true));
  return made;
}

static bool has_type(const EngineValue *value, const char *type) {
  int64_t number;
  if (strcmp(type, "text") == 0) return is(value, TEXT);
  if (strcmp(type, "integer") == 0) return is(value, NUMBER) && read_integer(value->text.data, &number);
  if (strcmp(type, "number") == 0) return is(value, NUMBER);
  if (strcmp(type, "boolean") == 0) return is(value, TRUTH);
  if (!is(value, strcmp(type, "texts") == 0 ? LIST : OBJECT)) return false;
  for (size_t at = 0; at < value->count; at++) {
    if (!is(value->members[at].value, TEXT)) return false;
  }
  return true;
}

/* Checks a configuration against the settings and fills in defaults. */
static EngineStatus check_config(EngineValue *config) {
  const EngineSetting *settings = engine_component.settings;
  EngineBuffer known = {0};
  put_text(&known, "the settings are");
  if (!is(config, OBJECT)) return engine_fail(ENGINE_CONFIG, NULL, "the configuration must be of the type object");
  for (const EngineSetting *setting = settings; setting != NULL && setting->name != NULL; setting++) {
    engine_print(&known, "%s %s", setting == settings ? "" : ",", setting->name);
    EngineValue *value = engine_member(config, setting->name);
    if (value == NULL && setting->otherwise == NULL) {
      return engine_fail(ENGINE_CONFIG, setting->description, "`%s` is missing", setting->name);
    }
    if (value == NULL) {
      engine_set(config, setting->name, parse_literal(setting->otherwise));
      continue;
    }
    bool unset = value->kind == NOTHING && setting->otherwise != NULL && strcmp(setting->otherwise, "null") == 0;
    if (!unset && !has_type(value, setting->type)) {
      return engine_fail(ENGINE_CONFIG, setting->description, "`%s` must be of the type %s", setting->name,
                         setting->type);
    }
    double number = engine_number(value, 0);
    if (is(value, NUMBER) && setting->minimum != NULL && number < strtod(setting->minimum, NULL)) {
      return engine_fail(ENGINE_CONFIG, setting->description, "`%s` must be at least %s", setting->name,
                         setting->minimum);
    }
    if (is(value, NUMBER) && setting->maximum != NULL && number > strtod(setting->maximum, NULL)) {
      return engine_fail(ENGINE_CONFIG, setting->description, "`%s` must be at most %s", setting->name,
                         setting->maximum);
    }
  }
  for (size_t at = 0; at < config->count; at++) {
    const EngineSetting *setting = settings;
    while (setting != NULL && setting->name != NULL && strcmp(setting->name, config->members[at].name) != 0) setting++;
    if (setting == NULL || setting->name == NULL) {
      return engine_fail(ENGINE_CONFIG, known.data, "unknown setting `%s`", config->members[at].name);
    }
  }
  return ENGINE_OK;
}

/* ---- Columns -------------------------------------------------------------------------------- */

static EngineValue *column_named(const EngineValue *columns, const char *name) {
  for (size_t at = 0; at < engine_count(columns); at++) {
    EngineValue *column = engine_item(columns, at);
    if (strcmp(engine_text(engine_member(column, "name"), ""), name) == 0) return column;
  }
  return NULL;
}

const char *engine_column_type(const EngineValue *columns, const char *name) {
  EngineValue *column = column_named(columns, name);
  return column == NULL ? NULL : engine_text(engine_member(column, "type"), "");
}

void engine_add_column(EngineValue *columns, const char *name, const char *type) {
  EngineValue *column = engine_new_object();
  engine_set(column, "name", engine_new_text(name));
  engine_set(column, "type", engine_new_text(type));
  engine_append(columns, column);
}

EngineStatus engine_no_column(const EngineValue *columns, const char *name) {
  EngineBuffer hint = {0};
  put_text(&hint, "the columns are");
  for (size_t at = 0; at < engine_count(columns); at++) {
    engine_print(&hint, "%s %s", at == 0 ? "" : ",", engine_text(engine_member(engine_item(columns, at), "name"), ""));
  }
  return engine_fail(ENGINE_CONFIG, hint.data, "there is no column `%s`", name);
}

static EngineValue *schema_of_columns(EngineValue *columns) {
  EngineValue *made = engine_new_object();
  engine_set(made, "columns", columns);
  return made;
}

static EngineValue *files_columns(void) {
  return parse_literal(
      "[{\"name\": \"name\", \"type\": \"text\", \"nullable\": false},"
      " {\"name\": \"data\", \"type\": \"binary\", \"nullable\": false}]");
}

static EngineStatus own_columns(EngineValue **columns) {
  *columns = engine_new_list();
  for (const EngineColumn *column = engine_component.columns; column != NULL && column->name != NULL; column++) {
    engine_add_column(*columns, column->name, column->type);
  }
  EngineStatus status = engine_component.give_columns == NULL ? ENGINE_OK : engine_component.give_columns(*columns);
  if (status != ENGINE_OK || engine_count(*columns) > 0) return status;
  return engine_fail(ENGINE_CONFIG, "name them in the settings", "`%s` has no columns", engine_component.name);
}

/* ---- The calls, as plugin.wit has them -------------------------------------------------------- */

/* What a call answers. */
typedef struct Reply {
  EngineBytes text;
  /* Batches, of those calls that answer with many. */
  EngineBytes *batches;
  size_t count;
} Reply;

#define TRY(call)                         \
  do {                                    \
    EngineStatus tried = (call);          \
    if (tried != ENGINE_OK) return tried; \
  } while (0)

static EngineStatus not_json(void) { return engine_fail(ENGINE_INTERNAL, NULL, "the engine sent what is not JSON"); }

static void answer(Reply *reply, const EngineValue *value) { reply->text = json_of(value); }

static void answer_batch(Reply *reply, const EngineValue *rows) {
  if (engine_count(rows) == 0) return;
  EngineBytes *batches = take((reply->count + 1) * sizeof *batches);
  if (reply->count > 0) memcpy(batches, reply->batches, reply->count * sizeof *batches);
  batches[reply->count] = json_of(rows);
  reply->batches = batches;
  reply->count++;
}

/* A call that the kind needs and the component does not have. */
static const char *missing_call(void) {
  const EngineComponent *it = &engine_component;
#ifdef ENGINE_KIND_SOURCE
  if (it->plan == NULL) return "`plan`";
  if (it->read == NULL) return "`read`";
  if (it->next == NULL) return "`next`";
#endif
#ifdef ENGINE_KIND_TRANSFORM
  if (it->transform == NULL && it->push == NULL) return "`transform` or `push`";
#endif
#ifdef ENGINE_KIND_FORMAT
  if (it->decode_line == NULL && it->decode == NULL && it->encode_line == NULL) {
    return "`decode_line`, `decode` or `encode_line`";
  }
#endif
#ifdef ENGINE_KIND_SINK
  if (it->write == NULL && it->write_piece == NULL) return "`write` or `write_piece`";
  if (it->commit == NULL) return "`commit`";
#endif
  (void)it;
  return NULL;
}

static EngineStatus call_describe(EngineBytes name, Reply *reply) {
  if (strlen(engine_component.name) != name.length || memcmp(engine_component.name, name.data, name.length) != 0) {
    return engine_fail(ENGINE_INTERNAL, "`.name` in component.c and the name in plugin.json must be the same",
                       "plugin.json lists `%.*s`, and the component is `%s`", (int)name.length, name.data,
                       engine_component.name);
  }
  const char *lacks = missing_call();
  if (lacks != NULL) {
    return engine_fail(ENGINE_INTERNAL, "set it in `engine_component`", "`%s` lacks %s", engine_component.name, lacks);
  }
  answer(reply, description());
  return ENGINE_OK;
}

static EngineStatus call_open(EngineBytes text) {
  arena = &of_instance;
  EngineValue *request = parse(text);
  if (request == NULL) return not_json();
  EngineValue *config = engine_member(request, "config");
  folder = engine_text(engine_member(request, "folder"), "");
  remembered = engine_member(request, "remembered");
  TRY(check_config(config));
  return engine_component.open == NULL ? ENGINE_OK : engine_component.open(config);
}

static EngineStatus call_check(Reply *reply) {
  const char *summary = "the configuration is complete";
  if (engine_component.check != NULL) TRY(engine_component.check(&summary));
  EngineValue *report = engine_new_object();
  engine_set(report, "summary", engine_new_text(summary));
  answer(reply, report);
  return ENGINE_OK;
}

#if defined(ENGINE_KIND_SOURCE) || defined(ENGINE_TEST)
static bool source_ended;

static EngineStatus call_plan(EngineBytes text, Reply *reply) {
  EngineValue *request = parse(text), *upper = NULL, *specs = engine_new_list();
  if (request == NULL) return not_json();
  TRY(engine_component.plan(engine_member(request, "cursor"), specs, &upper));
  EngineValue *plan = engine_new_object(), *splits = engine_new_list();
  for (size_t at = 0; at < engine_count(specs); at++) {
    EngineValue *split = engine_new_object();
    /* Ids sort in the order of the rows, hence the zeros. */
    engine_set(split, "id", engine_new_format("%06zu", at));
    engine_set(split, "spec", engine_item(specs, at));
    engine_append(splits, split);
  }
  engine_set(plan, "splits", splits);
  if (!engine_is_null(upper)) engine_set(plan, "upper", upper);
  answer(reply, plan);
  return ENGINE_OK;
}

static EngineStatus call_read(EngineBytes text, Reply *reply) {
  clear(&of_stream);
  arena = &of_stream;
  EngineValue *split = parse(text), *columns;
  if (split == NULL) return not_json();
  source_ended = false;
  TRY(engine_component.read(engine_member(split, "spec")));
  arena = &of_call;
  const char *gives = engine_text(engine_member(description(), "gives"), "rows");
  if (strcmp(gives, "files") == 0) {
    columns = files_columns();
  } else {
    TRY(own_columns(&columns));
  }
  answer(reply, schema_of_columns(columns));
  return ENGINE_OK;
}

/* `text` stays empty at the end of the stream. */
static EngineStatus call_next(Reply *reply) {
  TRY(check_cancelled());
  EngineValue *rows = engine_new_list();
  while (!source_ended && engine_count(rows) < BATCH_ROWS) {
    EngineValue *row = engine_new_object();
    EngineStatus status = engine_component.next(row);
    if (status == ENGINE_END) {
      source_ended = true;
    } else if (status != ENGINE_OK) {
      return status;
    } else {
      engine_append(rows, row);
      /* The piece of a file, or a few large rows, are a batch of their own. */
      if (is(engine_member(row, "data"), TEXT) && engine_member(row, "data")->text.length > PIECE_BYTES / 4) break;
    }
  }
  if (engine_count(rows) > 0) answer(reply, rows);
  return ENGINE_OK;
}
#endif

#if defined(ENGINE_KIND_TRANSFORM) || defined(ENGINE_TEST)
static EngineStatus call_start_transform(EngineBytes text, Reply *reply) {
  clear(&of_stream);
  arena = &of_stream;
  EngineValue *schema = parse(text);
  if (schema == NULL) return not_json();
  if (engine_component.start != NULL) TRY(engine_component.start(engine_member(schema, "columns")));
  arena = &of_call;
  answer(reply, schema);
  return ENGINE_OK;
}

static EngineStatus call_push_transform(EngineBytes text, Reply *reply) {
  TRY(check_cancelled());
  EngineValue *rows = parse(text), *out = engine_new_list();
  if (rows == NULL) return not_json();
  if (engine_component.push != NULL) {
    TRY(engine_component.push(rows, out));
    answer_batch(reply, out);
    return ENGINE_OK;
  }
  uint64_t left_out = 0;
  for (size_t at = 0; at < engine_count(rows); at++) {
    EngineValue *row = shallow(engine_item(rows, at));
    EngineStatus status = engine_component.transform(row);
    if (status == ENGINE_OK) {
      engine_append(out, row);
    } else if (status == ENGINE_FILTERED) {
      left_out++;
    } else if (status == ENGINE_REFUSED) {
      EngineValue *refused = engine_new_list();
      engine_append(refused, engine_item(rows, at));
      TRY(host_reject_rows(refusal.code, refusal.reason, json_of(refused)));
    } else {
      return status;
    }
  }
  if (left_out > 0) host_filtered(left_out);
  answer_batch(reply, out);
  return ENGINE_OK;
}

static EngineStatus call_finish_transform(Reply *reply) {
  EngineValue *out = engine_new_list();
  if (engine_component.finish != NULL) TRY(engine_component.finish(out));
  answer_batch(reply, out);
  return ENGINE_OK;
}
#endif

#if defined(ENGINE_KIND_FORMAT) || defined(ENGINE_TEST)
#define DECODE 0
#define ENCODE 1

/* What a stream of files has open between two calls; its memory is malloc's. */
static struct Format {
  int direction;
  /* The file that pieces belong to. */
  char *name;
  size_t name_length;
  bool in_file;
  /* What has come of a line, or of a file, and is not at its end. */
  char *pending;
  size_t length;
  size_t room;
  /* Behind a line that was too long, up to its end. */
  bool skipping;
  bool encoder_gave;
  EngineBytes head;
} format;

static void keep(EngineBytes data) {
  if (format.room - format.length < data.length + 1) {
    format.room = (format.length + data.length + 1) * 2;
    format.pending = realloc(format.pending, format.room);
    if (format.pending == NULL) abort();
  }
  if (data.length > 0) memcpy(format.pending + format.length, data.data, data.length);
  format.length += data.length;
  format.pending[format.length] = '\0';
}

static EngineStatus too_long(EngineBytes line) {
  engine_reject("too_long", "the line is longer than %d bytes", LONGEST_LINE_BYTES);
  return engine_reject_record(refusal.code, refusal.reason, (EngineBytes){line.data, LONGEST_LINE_BYTES});
}

static EngineStatus decode_one_line(EngineBytes whole, EngineValue *rows) {
  EngineBytes line = whole;
  if (line.length > LONGEST_LINE_BYTES) return too_long(line);
  if (line.length > 0 && line.data[line.length - 1] == '\n') line.length--;
  if (line.length > 0 && line.data[line.length - 1] == '\r') line.length--;
  size_t good = utf8_length(line);
  if (good < line.length) {
    engine_reject("not_utf8", "the line is not UTF-8 text at byte %zu", good + 1);
    return engine_reject_record(refusal.code, refusal.reason, whole);
  }
  line.data = copy(line.data, line.length);
  EngineValue *row = engine_new_object();
  EngineStatus status = engine_component.decode_line(line, row);
  if (status == ENGINE_OK) engine_append(rows, row);
  if (status == ENGINE_REFUSED) return engine_reject_record(refusal.code, refusal.reason, whole);
  return status == ENGINE_FILTERED ? ENGINE_OK : status;
}

static EngineStatus decode_lines(EngineBytes data, EngineValue *rows) {
  const char *at = data.data, *end = data.data + data.length, *found;
  while (at < end && (found = memchr(at, '\n', (size_t)(end - at))) != NULL) {
    EngineBytes line = {at, (size_t)(found - at) + 1};
    at = found + 1;
    if (format.length > 0) {
      keep(line);
      line = (EngineBytes){format.pending, format.length};
      format.length = 0;
    }
    if (!format.skipping) TRY(decode_one_line(line, rows));
    format.skipping = false;
  }
  if (!format.skipping) keep((EngineBytes){at, (size_t)(end - at)});
  if (format.length > LONGEST_LINE_BYTES) {
    format.skipping = true;
    EngineBytes line = {format.pending, format.length};
    format.length = 0;
    return too_long(line);
  }
  return ENGINE_OK;
}

static EngineStatus end_file(EngineValue *rows) {
  EngineBytes rest = {format.pending == NULL ? "" : format.pending, format.length};
  bool skipping = format.skipping;
  format.length = 0;
  format.skipping = format.in_file = false;
  if (engine_component.decode != NULL) return engine_component.decode(rest, rows);
  return rest.length == 0 || skipping ? ENGINE_OK : decode_one_line(rest, rows);
}

static EngineStatus decode_piece(const EngineValue *piece, uint64_t *size, EngineValue *rows) {
  EngineBytes name = engine_text_bytes(engine_member(piece, "name")),
              data = engine_binary(engine_member(piece, "data"));
  *size += data.length;
  bool same = format.in_file && name.length == format.name_length && memcmp(name.data, format.name, name.length) == 0;
  if (format.in_file && !same) TRY(end_file(rows));
  if (!same) {
    free(format.name);
    format.name = malloc(name.length + 1);
    if (format.name == NULL) abort();
    memcpy(format.name, name.data, name.length + 1);
    format.name_length = name.length;
  }
  format.in_file = true;
  file_name = (EngineBytes){format.name, format.name_length};
  if (engine_component.decode_line != NULL) return decode_lines(data, rows);
  keep(data);
  return ENGINE_OK;
}

static EngineStatus decoded(const EngineValue *rows, uint64_t size, Reply *reply) {
  host_progress(engine_count(rows) + refused_records, size);
  refused_records = 0;
  answer_batch(reply, rows);
  return ENGINE_OK;
}

static void answer_file(Reply *reply, EngineBytes data) {
  for (size_t at = 0; at < data.length || (data.length == 0 && at == 0); at += PIECE_BYTES) {
    size_t length = data.length - at < PIECE_BYTES ? data.length - at : PIECE_BYTES;
    EngineValue *rows = engine_new_list(), *piece = engine_new_object();
    engine_set(piece, "name", engine_new_text(""));
    engine_set(piece, "data", engine_new_binary(data.data + at, length));
    engine_append(rows, piece);
    answer_batch(reply, rows);
  }
  format.encoder_gave = true;
}

static EngineStatus call_start_format(int32_t direction, EngineBytes text, Reply *reply) {
  clear(&of_stream);
  arena = &of_stream;
  EngineValue *schema = parse(text), *columns;
  if (schema == NULL) return not_json();
  format.direction = direction;
  format.length = 0;
  format.in_file = format.skipping = format.encoder_gave = false;
  format.head = (EngineBytes){"", 0};
  refused_records = 0;
  if (direction == DECODE && (engine_component.decode_line != NULL || engine_component.decode != NULL)) {
    TRY(own_columns(&columns));
  } else if (direction == ENCODE && engine_component.encode_line != NULL) {
    EngineBuffer head = {0};
    if (engine_component.encode_start != NULL)
      TRY(engine_component.encode_start(engine_member(schema, "columns"), &head));
    if (head.length > 0) format.head = (EngineBytes){head.data, head.length};
    columns = files_columns();
  } else {
    return engine_fail(ENGINE_CONFIG, NULL, "`%s` does not go in this direction", engine_component.name);
  }
  answer(reply, schema_of_columns(columns));
  return ENGINE_OK;
}

static EngineStatus call_push_format(EngineBytes text, Reply *reply) {
  TRY(check_cancelled());
  EngineValue *rows = parse(text);
  if (rows == NULL) return not_json();
  if (format.direction == DECODE) {
    EngineValue *out = engine_new_list();
    uint64_t size = 0;
    for (size_t at = 0; at < engine_count(rows); at++) TRY(decode_piece(engine_item(rows, at), &size, out));
    return decoded(out, size, reply);
  }
  EngineBuffer lines = {0};
  engine_put(&lines, format.head.data, format.head.length);
  format.head.length = 0;
  for (size_t at = 0; at < engine_count(rows); at++) {
    size_t before = lines.length;
    EngineStatus status = engine_component.encode_line(engine_item(rows, at), &lines);
    if (status == ENGINE_OK) {
      engine_put(&lines, "\n", 1);
    } else if (status == ENGINE_REFUSED) {
      lines.length = before;
      EngineValue *refused = engine_new_list();
      engine_append(refused, engine_item(rows, at));
      TRY(host_reject_rows(refusal.code, refusal.reason, json_of(refused)));
    } else {
      return status;
    }
  }
  if (lines.length > 0) answer_file(reply, (EngineBytes){lines.data, lines.length});
  return ENGINE_OK;
}

static EngineStatus call_finish_format(Reply *reply) {
  if (format.direction == DECODE) {
    EngineValue *out = engine_new_list();
    if (format.in_file) TRY(end_file(out));
    return decoded(out, 0, reply);
  }
  EngineBuffer rest = {0};
  engine_put(&rest, format.head.data, format.head.length);
  if (engine_component.encode_end != NULL) TRY(engine_component.encode_end(&rest));
  /* An encoder gives a file also when there are no rows. */
  if (rest.length > 0 || !format.encoder_gave) answer_file(reply, (EngineBytes){rest.data, rest.length});
  return ENGINE_OK;
}
#endif

#if defined(ENGINE_KIND_SINK) || defined(ENGINE_TEST)
static EngineValue *delivery;
static uint64_t taken_rows, taken_bytes;

static EngineStatus call_begin_run(EngineBytes text, Reply *reply) {
  EngineValue *run = parse(text), *begun = engine_new_object();
  bool parallel = false;
  if (run == NULL) return not_json();
  if (engine_component.begin_run != NULL) TRY(engine_component.begin_run(run, &parallel));
  engine_set(begun, "parallel", engine_new_boolean(parallel));
  answer(reply, begun);
  return ENGINE_OK;
}

static EngineStatus call_begin_split(EngineBytes text, Reply *reply) {
  EngineValue *about = parse(text), *receipt = NULL, *begun = engine_new_object();
  if (about == NULL) return not_json();
  if (engine_component.begin_split != NULL) TRY(engine_component.begin_split(about, &receipt));
  engine_set(begun, "status", engine_new_text(receipt == NULL ? "new" : "committed"));
  if (receipt != NULL) engine_set(begun, "receipt", receipt);
  answer(reply, begun);
  return ENGINE_OK;
}

static EngineStatus call_start_write(EngineBytes about, EngineBytes text) {
  clear(&of_stream);
  arena = &of_stream;
  EngineValue *schema = parse(text);
  delivery = parse(about);
  if (schema == NULL || delivery == NULL) return not_json();
  taken_rows = taken_bytes = refused_rows = 0;
  if (engine_component.start_write == NULL) return ENGINE_OK;
  return engine_component.start_write(delivery, engine_member(schema, "columns"));
}

static EngineStatus call_push_write(EngineBytes text) {
  TRY(check_cancelled());
  EngineValue *rows = parse(text);
  if (rows == NULL) return not_json();
  if (engine_component.write_piece == NULL) {
    taken_rows += engine_count(rows);
    return engine_component.write(rows);
  }
  for (size_t at = 0; at < engine_count(rows); at++) {
    EngineValue *piece = engine_item(rows, at);
    EngineBytes data = engine_binary(engine_member(piece, "data"));
    taken_bytes += data.length;
    TRY(engine_component.write_piece(engine_text(engine_member(piece, "name"), ""), data));
  }
  return ENGINE_OK;
}

static EngineStatus call_finish_write(Reply *reply) {
  EngineValue *sealed = engine_new_object();
  engine_set(sealed, "rows", engine_new_integer((int64_t)(taken_rows == 0 ? 0 : taken_rows - refused_rows)));
  engine_set(sealed, "bytes", engine_new_integer((int64_t)taken_bytes));
  if (engine_component.finish_write != NULL) TRY(engine_component.finish_write(delivery, sealed));
  answer(reply, sealed);
  return ENGINE_OK;
}

static EngineStatus call_commit(EngineBytes text, Reply *reply) {
  EngineValue *about = parse(text), *receipt = engine_new_object();
  if (about == NULL) return not_json();
  TRY(engine_component.commit(about, receipt));
  answer(reply, receipt);
  return ENGINE_OK;
}

static EngineStatus call_abort(EngineBytes text) {
  EngineValue *about = parse(text);
  if (about == NULL) return not_json();
  return engine_component.abort == NULL ? ENGINE_OK : engine_component.abort(about);
}

static EngineStatus call_finish_run(EngineBytes text) {
  EngineValue *run = parse(text);
  if (run == NULL) return not_json();
  return engine_component.finish_run == NULL ? ENGINE_OK : engine_component.finish_run(run);
}
#endif

/* Any status but ENGINE_OK, as one that the engine knows. */
static void settle(EngineStatus status) {
  if (status == ENGINE_REFUSED) engine_fail(ENGINE_REJECTED, NULL, "%s", refusal.reason);
  if (status > ENGINE_CANCELLED && status != ENGINE_REFUSED) {
    engine_fail(ENGINE_INTERNAL, NULL, "the component answered with the status %d", (int)status);
  }
  if (failure.message == NULL) engine_fail(status, NULL, "the component does not say what failed");
}

#ifndef ENGINE_TEST

/* ---- The border ---------------------------------------------------------------------------------
 *
 * How plugin.wit's calls look to a core module, as the canonical ABI of the
 * component model has it: https://github.com/WebAssembly/component-model. On
 * wasm32 its layouts are those of the C structs below.
 */

/* What every export answers: result<…, error>. */
typedef struct Answer {
  uint8_t failed;
  union {
    EngineBytes text;
    struct {
      EngineBytes *items;
      size_t count;
    } batches;
    struct {
      uint8_t some;
      EngineBytes batch;
    } optional;
    struct {
      uint8_t kind;
      EngineBytes message;
      uint8_t has_hint;
      EngineBytes hint;
      uint8_t has_retry;
      uint64_t retry_after_ms;
    } error;
  } is;
} Answer;

_Static_assert(sizeof(EngineBytes) == 8, "this file is for wasm32; tests are built with -DENGINE_TEST");
_Static_assert(sizeof(Answer) == 48, "the layout of result<_, error>");

static Answer answered;

static Answer *finished(EngineStatus status) {
  memset(&answered, 0, sizeof answered);
  arena = &of_call;
  if (status == ENGINE_OK) {
    /* The component may have got over what it said. */
    memset(&failure, 0, sizeof failure);
    return &answered;
  }
  settle(status);
  answered.failed = 1;
  /* The enum of plugin.wit counts from 0. */
  answered.is.error.kind = (uint8_t)(failure.kind - 1);
  answered.is.error.message = (EngineBytes){failure.message, strlen(failure.message)};
  answered.is.error.has_hint = failure.hint != NULL;
  if (failure.hint != NULL) answered.is.error.hint = (EngineBytes){failure.hint, strlen(failure.hint)};
  answered.is.error.has_retry = failure.retry_after_ms != 0;
  answered.is.error.retry_after_ms = failure.retry_after_ms;
  memset(&failure, 0, sizeof failure);
  return &answered;
}

static Answer *with_text(EngineStatus status, const Reply *reply) {
  if (!finished(status)->failed) answered.is.text = reply->text;
  return &answered;
}

#define EXPORT(interface, name) __attribute__((export_name("engine:plugin/" interface "@1.0.0#" name)))
/* The engine has taken what the call answered: all that was made for it goes. */
#define AFTER(interface, name, function)                                                                   \
  __attribute__((export_name("cabi_post_engine:plugin/" interface "@1.0.0#" name))) void function##_after( \
      Answer *answer) {                                                                                    \
    (void)answer;                                                                                          \
    clear(&of_call);                                                                                       \
  }

/* Where the engine puts what it hands in. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t alignment,
                                                                size_t size) {
  (void)alignment;
  void *made = take_from(&of_call, size);
  if (old_size > 0) memcpy(made, old, old_size < size ? old_size : size);
  return made;
}

/* Where the adapter between old and new WASI puts what it keeps: no call ends that. */
__attribute__((export_name("cabi_realloc_adapter"))) void *cabi_realloc_adapter(void *old, size_t old_size,
                                                                                size_t alignment, size_t size) {
  (void)old_size, (void)alignment;
  void *made = realloc(old, size);
  if (made == NULL) abort();
  return made;
}

EXPORT("component", "describe") Answer *wit_describe(int32_t kind, const char *name, size_t length) {
  (void)kind; /* A module in C has one component. */
  Reply reply = {0};
  return with_text(call_describe((EngineBytes){name, length}, &reply), &reply);
}
AFTER("component", "describe", wit_describe)

EXPORT("component", "open")
Answer *wit_open(int32_t kind, const char *name, size_t name_length, const char *request, size_t length) {
  (void)kind, (void)name, (void)name_length;
  return finished(call_open((EngineBytes){request, length}));
}
AFTER("component", "open", wit_open)

EXPORT("component", "check") Answer *wit_check(void) {
  Reply reply = {0};
  return with_text(call_check(&reply), &reply);
}
AFTER("component", "check", wit_check)

/* The exports whose parameters are one text and that answer with one text, or with none. */
#define TEXT_TO_TEXT(interface, name, function, call)                         \
  EXPORT(interface, name) Answer *function(const char *text, size_t length) { \
    Reply reply = {0};                                                        \
    return with_text(call((EngineBytes){text, length}, &reply), &reply);      \
  }                                                                           \
  AFTER(interface, name, function)

#define TEXT_TO_NOTHING(interface, name, function, call)                      \
  EXPORT(interface, name) Answer *function(const char *text, size_t length) { \
    return finished(call((EngineBytes){text, length}));                       \
  }                                                                           \
  AFTER(interface, name, function)

#ifdef ENGINE_KIND_SOURCE
TEXT_TO_TEXT("source", "plan", wit_plan, call_plan)
TEXT_TO_TEXT("source", "read", wit_read, call_read)

EXPORT("source", "next") Answer *wit_next(void) {
  Reply reply = {0};
  if (!finished(call_next(&reply))->failed) {
    answered.is.optional.some = reply.text.length > 0;
    answered.is.optional.batch = reply.text;
  }
  return &answered;
}
AFTER("source", "next", wit_next)
#endif

#if defined(ENGINE_KIND_TRANSFORM) || defined(ENGINE_KIND_FORMAT)
static Answer *with_batches(EngineStatus status, const Reply *reply) {
  if (!finished(status)->failed) {
    answered.is.batches.items = reply->batches;
    answered.is.batches.count = reply->count;
  }
  return &answered;
}
#endif

#ifdef ENGINE_KIND_TRANSFORM
TEXT_TO_TEXT("transform", "start", wit_start, call_start_transform)

EXPORT("transform", "push") Answer *wit_push(const char *batch, size_t length) {
  Reply reply = {0};
  return with_batches(call_push_transform((EngineBytes){batch, length}, &reply), &reply);
}
AFTER("transform", "push", wit_push)

EXPORT("transform", "finish") Answer *wit_finish(void) {
  Reply reply = {0};
  return with_batches(call_finish_transform(&reply), &reply);
}
AFTER("transform", "finish", wit_finish)
#endif

#ifdef ENGINE_KIND_FORMAT
EXPORT("format", "start") Answer *wit_start(int32_t direction, const char *schema, size_t length) {
  Reply reply = {0};
  return with_text(call_start_format(direction, (EngineBytes){schema, length}, &reply), &reply);
}
AFTER("format", "start", wit_start)

EXPORT("format", "push") Answer *wit_push(const char *batch, size_t length) {
  Reply reply = {0};
  return with_batches(call_push_format((EngineBytes){batch, length}, &reply), &reply);
}
AFTER("format", "push", wit_push)

EXPORT("format", "finish") Answer *wit_finish(void) {
  Reply reply = {0};
  return with_batches(call_finish_format(&reply), &reply);
}
AFTER("format", "finish", wit_finish)
#endif

#ifdef ENGINE_KIND_SINK
TEXT_TO_TEXT("sink", "begin-run", wit_begin_run, call_begin_run)
TEXT_TO_TEXT("sink", "begin-split", wit_begin_split, call_begin_split)
TEXT_TO_TEXT("sink", "commit", wit_commit, call_commit)
TEXT_TO_NOTHING("sink", "abort", wit_abort, call_abort)
TEXT_TO_NOTHING("sink", "finish-run", wit_finish_run, call_finish_run)

EXPORT("writer", "start")
Answer *wit_start(const char *delivery_text, size_t delivery_length, const char *schema, size_t length) {
  return finished(call_start_write((EngineBytes){delivery_text, delivery_length}, (EngineBytes){schema, length}));
}
AFTER("writer", "start", wit_start)
TEXT_TO_NOTHING("writer", "push", wit_push, call_push_write)

EXPORT("writer", "finish") Answer *wit_finish(void) {
  Reply reply = {0};
  return with_text(call_finish_write(&reply), &reply);
}
AFTER("writer", "finish", wit_finish)
#endif

#define IMPORT(name) __attribute__((import_module("engine:plugin/host@1.0.0"), import_name(name)))

IMPORT("log") void wit_log(int32_t level, const char *message, size_t length);
IMPORT("cancelled") int32_t wit_cancelled(void);
/* option<u64> */
typedef struct Deadline {
  uint8_t some;
  uint64_t milliseconds;
} Deadline;
IMPORT("deadline") void wit_deadline(Deadline *answer);
IMPORT("progress") void wit_progress(uint64_t records, uint64_t bytes);
IMPORT("filtered") void wit_filtered(uint64_t rows);
IMPORT("reject-record")
void wit_reject_record(const char *code, size_t code_length, const char *reason, size_t reason_length, const char *name,
                       size_t name_length, const char *data, size_t length, Answer *answer);
IMPORT("reject-rows")
void wit_reject_rows(const char *code, size_t code_length, const char *reason, size_t reason_length, const char *rows,
                     size_t length, Answer *answer);
IMPORT("receipt") void wit_receipt(const char *part, size_t length, Answer *answer);
IMPORT("remember") void wit_remember(const char *value, size_t length, Answer *answer);

/* Passes on what the engine itself answered. */
static EngineStatus passed_on(const Answer *answer) {
  if (!answer->failed) return ENGINE_OK;
  failure.kind = (EngineStatus)(answer->is.error.kind + 1);
  failure.message =
      engine_text(engine_new_text_bytes(answer->is.error.message.data, answer->is.error.message.length), "");
  failure.hint = NULL;
  if (answer->is.error.has_hint) {
    failure.hint = engine_text(engine_new_text_bytes(answer->is.error.hint.data, answer->is.error.hint.length), "");
  }
  failure.retry_after_ms = answer->is.error.has_retry ? answer->is.error.retry_after_ms : 0;
  return failure.kind;
}

static void host_log(int level, EngineBytes message) { wit_log(level, message.data, message.length); }
static bool host_cancelled(void) { return wit_cancelled() != 0; }

static int64_t host_deadline(void) {
  Deadline answer;
  wit_deadline(&answer);
  return answer.some ? (int64_t)answer.milliseconds : -1;
}

static void host_progress(uint64_t records, uint64_t bytes) { wit_progress(records, bytes); }
static void host_filtered(uint64_t rows) { wit_filtered(rows); }

static EngineStatus host_reject_record(const char *code, const char *reason, EngineBytes name, EngineBytes data) {
  Answer answer;
  wit_reject_record(code, strlen(code), reason, strlen(reason), name.data, name.length, data.data, data.length,
                    &answer);
  return passed_on(&answer);
}

static EngineStatus host_reject_rows(const char *code, const char *reason, EngineBytes rows) {
  Answer answer;
  wit_reject_rows(code, strlen(code), reason, strlen(reason), rows.data, rows.length, &answer);
  return passed_on(&answer);
}

static EngineStatus host_receipt(EngineBytes part) {
  Answer answer;
  wit_receipt(part.data, part.length, &answer);
  return passed_on(&answer);
}

static EngineStatus host_remember(EngineBytes value) {
  Answer answer;
  wit_remember(value.data, value.length, &answer);
  return passed_on(&answer);
}

#else /* ENGINE_TEST */

/* ---- The engine of a test ------------------------------------------------------------------------ */

static bool test_cancelled;
static uint64_t test_filtered, test_records;
static EngineBuffer test_rejected, test_codes;
static char *test_delivery;
/* What a test is answered with, and what its engine notes. */
static Arena of_test;

static void note(EngineBuffer *where, const char *text, size_t length) {
  Arena *before = arena;
  arena = &of_test;
  engine_put(where, text, length);
  arena = before;
}

static void note_rejection(const char *code, const char *reason, const EngineValue *data) {
  EngineValue *rejection = engine_new_object();
  engine_set(rejection, "code", engine_new_text(code));
  engine_set(rejection, "reason", engine_new_text(reason));
  engine_set(rejection, "data", (EngineValue *)data);
  EngineBytes text = json_of(rejection);
  if (test_rejected.length > 0) note(&test_rejected, ",", 1);
  note(&test_rejected, text.data, text.length);
  if (test_codes.length > 0) note(&test_codes, " ", 1);
  note(&test_codes, code, strlen(code));
}

static void host_log(int level, EngineBytes message) {
  fprintf(stderr, "log %d: %.*s\n", level, (int)message.length, message.data);
}
static bool host_cancelled(void) { return test_cancelled; }
static int64_t host_deadline(void) { return -1; }
static void host_progress(uint64_t records, uint64_t bytes) { (void)bytes, test_records += records; }
static void host_filtered(uint64_t rows) { test_filtered += rows; }

static EngineStatus host_reject_record(const char *code, const char *reason, EngineBytes name, EngineBytes data) {
  (void)name;
  note_rejection(code, reason, engine_new_text_bytes(data.data, data.length));
  return ENGINE_OK;
}

static EngineStatus host_reject_rows(const char *code, const char *reason, EngineBytes rows) {
  note_rejection(code, reason, parse(rows));
  return ENGINE_OK;
}

static EngineStatus host_receipt(EngineBytes part) {
  (void)part;
  return ENGINE_OK;
}

static EngineStatus host_remember(EngineBytes value) {
  (void)value;
  return ENGINE_OK;
}

/* `'` for `"`, where a text has none. */
static char *quoted(const char *text) {
  char *made = copy(text, strlen(text));
  if (strchr(made, '"') == NULL) {
    for (char *at = made; *at != '\0'; at++) *at = *at == '\'' ? '"' : *at;
  }
  return made;
}

/* Ends a call of the component; what it said lives as long as the test's engine. */
static const char *ended(EngineStatus status, const char *text) {
  static const char *const kinds[] = {"",         "config",   "denied",   "unavailable", "rate_limited",
                                      "rejected", "internal", "cancelled"};
  EngineBuffer out = {0};
  if (status != ENGINE_OK) settle(status);
  note(&out, "", 0);
  if (status != ENGINE_OK) {
    note(&out, kinds[failure.kind], strlen(kinds[failure.kind]));
    note(&out, ": ", 2);
    text = failure.message;
  }
  note(&out, text, strlen(text));
  memset(&failure, 0, sizeof failure);
  arena = &of_call;
  clear(&of_call);
  return out.data;
}

static EngineBytes bytes_of(const char *text) { return (EngineBytes){text, strlen(text)}; }

/* A call of the component, after which values are made as before. */
#define CALL(status, call) \
  do {                     \
    status = (call);       \
    arena = &of_call;      \
  } while (0)

static void join(EngineValue *rows, const Reply *reply) {
  for (size_t at = 0; at < reply->count; at++) {
    EngineValue *batch = parse(reply->batches[at]);
    for (size_t row = 0; row < engine_count(batch); row++) engine_append(rows, engine_item(batch, row));
  }
}

/* The columns that rows seem to have. */
static EngineBytes guessed_schema(const EngineValue *rows) {
  EngineValue *columns = engine_new_list();
  for (size_t row = 0; row < engine_count(rows); row++) {
    for (size_t at = 0; at < engine_count(engine_item(rows, row)); at++) {
      const char *name = engine_name(engine_item(rows, row), at);
      const EngineValue *value = engine_item(engine_item(rows, row), at);
      int64_t number;
      const char *type = is(value, TRUTH)                                               ? "boolean"
                         : is(value, NUMBER) && read_integer(value->text.data, &number) ? "integer"
                         : is(value, NUMBER)                                            ? "number"
                                                                                        : "text";
      if (engine_column_type(columns, name) == NULL && !engine_is_null(value)) engine_add_column(columns, name, type);
    }
  }
  return json_of(schema_of_columns(columns));
}

void engine_test_open(const char *config, const char *place) {
  clear(&of_test);
  clear(&of_call);
  clear(&of_instance);
  test_cancelled = false;
  test_filtered = test_records = 0;
  test_rejected = test_codes = (EngineBuffer){0};
  arena = &of_call;
  EngineValue *request = engine_new_object();
  engine_set(request, "config", parse_literal(quoted(config)));
  engine_set(request, "folder", engine_new_text(place));
  EngineStatus status = call_open(json_of(request));
  if (status != ENGINE_OK) {
    fprintf(stderr, "open: %s\n", ended(status, ""));
    exit(1);
  }
  ended(status, "");
}

const char *engine_test_read(const char *cursor) {
  EngineStatus status;
  Reply reply = {0};
  EngineValue *rows = engine_new_list(), *request = engine_new_object(), *made = engine_new_object();
  engine_set(request, "cursor", parse_literal(quoted(cursor)));
  CALL(status, call_plan(json_of(request), &reply));
  EngineValue *plan = status == ENGINE_OK ? parse(reply.text) : NULL;
  EngineValue *splits = engine_member(plan, "splits");
  for (size_t at = 0; status == ENGINE_OK && at < engine_count(splits); at++) {
    CALL(status, call_read(json_of(engine_item(splits, at)), &reply));
    while (status == ENGINE_OK) {
      reply = (Reply){0};
      CALL(status, call_next(&reply));
      if (status != ENGINE_OK || reply.text.length == 0) break;
      EngineValue *batch = parse(reply.text);
      for (size_t row = 0; row < engine_count(batch); row++) engine_append(rows, engine_item(batch, row));
    }
  }
  engine_set(made, "rows", rows);
  engine_set(made, "upper", engine_member(plan, "upper"));
  return ended(status, engine_json(made));
}

const char *engine_test_transform(const char *text) {
  EngineStatus status;
  Reply reply = {0};
  EngineValue *rows = parse_literal(quoted(text)), *out = engine_new_list();
  CALL(status, call_start_transform(guessed_schema(rows), &reply));
  if (status == ENGINE_OK) CALL(status, call_push_transform(json_of(rows), &reply));
  if (status == ENGINE_OK) CALL(status, call_finish_transform(&reply));
  join(out, &reply);
  return ended(status, engine_json(out));
}

static EngineBytes piece_of(const char *data, size_t length) {
  EngineValue *rows = engine_new_list(), *piece = engine_new_object();
  engine_set(piece, "name", engine_new_text("test"));
  engine_set(piece, "data", engine_new_binary(data, length));
  engine_append(rows, piece);
  return json_of(rows);
}

const char *engine_test_decode(const char *file, size_t piece_bytes) {
  EngineStatus status;
  Reply reply = {0};
  EngineValue *out = engine_new_list();
  size_t length = strlen(file);
  CALL(status, call_start_format(DECODE, bytes_of("{\"columns\": []}"), &reply));
  for (size_t at = 0; status == ENGINE_OK && (at < length || at == 0); at += piece_bytes) {
    size_t size = length - at < piece_bytes ? length - at : piece_bytes;
    CALL(status, call_push_format(piece_of(file + at, size), &reply));
  }
  if (status == ENGINE_OK) CALL(status, call_finish_format(&reply));
  join(out, &reply);
  return ended(status, engine_json(out));
}

const char *engine_test_encode(const char *text) {
  EngineStatus status;
  Reply reply = {0};
  EngineBuffer whole = {0};
  EngineValue *rows = parse_literal(quoted(text)), *out = engine_new_list();
  CALL(status, call_start_format(ENCODE, guessed_schema(rows), &reply));
  if (status == ENGINE_OK) CALL(status, call_push_format(json_of(rows), &reply));
  if (status == ENGINE_OK) CALL(status, call_finish_format(&reply));
  join(out, &reply);
  engine_put(&whole, "", 0);
  for (size_t at = 0; at < engine_count(out); at++) {
    EngineBytes data = engine_binary(engine_member(engine_item(out, at), "data"));
    engine_put(&whole, data.data, data.length);
  }
  return ended(status, whole.data);
}

const char *engine_test_write(const char *key, const char *file) {
  EngineStatus status;
  Reply reply = {0};
  EngineValue *about =
      parse_literal("{\"state\":\"s\",\"pipeline\":\"p\",\"sink\":\"k\",\"window\":1,\"split\":\"0000\"}");
  engine_set(about, "key", engine_new_text(key));
  free(test_delivery);
  EngineBytes text = json_of(about);
  test_delivery = malloc(text.length + 1);
  if (test_delivery == NULL) abort();
  memcpy(test_delivery, text.data, text.length + 1);
  CALL(status, call_begin_run(text, &reply));
  if (status == ENGINE_OK) CALL(status, call_begin_split(text, &reply));
  const char *answer = "ready";
  if (status == ENGINE_OK && strcmp(engine_text(engine_member(parse(reply.text), "status"), ""), "committed") == 0) {
    return ended(status, "committed");
  }
  EngineBytes schema = json_of(schema_of_columns(files_columns()));
  if (status == ENGINE_OK) CALL(status, call_start_write(text, schema));
  if (status == ENGINE_OK) CALL(status, call_push_write(piece_of(file, strlen(file))));
  if (status == ENGINE_OK) CALL(status, call_finish_write(&reply));
  return ended(status, answer);
}

const char *engine_test_commit(void) {
  EngineStatus status;
  Reply reply = {0};
  CALL(status, call_commit(bytes_of(test_delivery), &reply));
  return ended(status, status == ENGINE_OK ? reply.text.data : "");
}

void engine_test_abort(void) {
  EngineStatus status;
  CALL(status, call_abort(bytes_of(test_delivery)));
  ended(status, "");
}

const char *engine_test_rejected(void) {
  EngineBuffer out = {0};
  note(&out, "[", 1);
  if (test_rejected.length > 0) note(&out, test_rejected.data, test_rejected.length);
  note(&out, "]", 1);
  return out.data;
}

const char *engine_test_codes(void) { return test_codes.length == 0 ? "" : test_codes.data; }
uint64_t engine_test_filtered(void) { return test_filtered; }
uint64_t engine_test_records(void) { return test_records; }
void engine_test_cancel(void) { test_cancelled = true; }

void engine_test_compare(const char *file, int line, const char *found, const char *expected) {
  const char *meant = strchr(found, '"') == NULL ? expected : quoted(expected);
  if (strcmp(found, meant) == 0) return;
  fprintf(stderr, "%s:%d:\n   found    %s\n   expected %s\n", file, line, found, meant);
  exit(1);
}

#endif
