/*
 * json.c: reads as much JSON as configurations and splits need. A module with
 * larger configurations would take a library instead.
 */
#include <limits.h>
#include <string.h>

#include "example.h"

/* Deeper values are refused, so that no text can exhaust the stack. */
#define DEEPEST 64

Json json(EngineText text) {
  Json json = {text.data, text.data == NULL ? NULL : text.data + text.length};
  return json;
}

static void skip_space(Json *json) {
  while (json->at < json->end && strchr(" \t\r\n", *json->at) != NULL && *json->at != '\0') json->at++;
}

/* Takes one character, after spaces. */
static bool take(Json *json, char wanted) {
  skip_space(json);
  if (json->at >= json->end || *json->at != wanted) return false;
  json->at++;
  return true;
}

bool json_enter(Json *json) { return take(json, '{'); }

int json_member(Json *json, char *name, size_t name_size) {
  if (take(json, '}')) return 0;
  /* A comma stands before every member but the first; engines send valid JSON, so it may be there or not. */
  take(json, ',');
  Json before = *json;
  if (!json_text(json, name, name_size)) {
    *json = before;
    if (!json_skip(json)) return -1;
    name[0] = '\0';
  }
  return take(json, ':') ? 1 : -1;
}

bool json_integer(Json *json, int64_t *value) {
  skip_space(json);
  const char *at = json->at;
  bool negative = at < json->end && *at == '-';
  if (negative) at++;
  if (at >= json->end || *at < '0' || *at > '9') return false;
  /* Collected as a negative number: there is one more of them. */
  int64_t collected = 0;
  for (; at < json->end && *at >= '0' && *at <= '9'; at++) {
    int digit = *at - '0';
    if (collected < (INT64_MIN + digit) / 10) return false;
    collected = collected * 10 - digit;
  }
  if (at < json->end && (*at == '.' || *at == 'e' || *at == 'E')) return false;
  if (!negative && collected == INT64_MIN) return false;
  *value = negative ? collected : -collected;
  json->at = at;
  return true;
}

/* Four hexadecimal digits after `\u`; -1 when they are something else. */
static int32_t hexadecimal(Json *json) {
  int32_t value = 0;
  if (json->end - json->at < 4) return -1;
  for (int digit = 0; digit < 4; digit++) {
    char c = *json->at++;
    if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
    else if (c >= 'a' && c <= 'f') value = value * 16 + (c - 'a' + 10);
    else if (c >= 'A' && c <= 'F') value = value * 16 + (c - 'A' + 10);
    else return -1;
  }
  return value;
}

/* Writes a code point as UTF-8 and answers how many bytes it took. */
static size_t utf8(int32_t code, char out[4]) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t at = length - 1; at > 0; at--) {
    out[at] = (char)(0x80 | (code & 0x3F));
    code >>= 6;
  }
  static const unsigned char first[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  out[0] = (char)(first[length] | code);
  return length;
}

/* What stands behind a backslash, as UTF-8; 0 when it is no escape. */
static size_t escape(Json *json, char out[4]) {
  static const char names[] = "\"\\/bfnrt";
  static const char values[] = "\"\\/\b\f\n\r\t";
  if (json->at >= json->end) return 0;
  char c = *json->at++;
  const char *known = c == '\0' ? NULL : strchr(names, c);
  if (known != NULL) {
    out[0] = values[known - names];
    return 1;
  }
  if (c != 'u') return 0;
  int32_t code = hexadecimal(json);
  if (code >= 0xD800 && code < 0xDC00) {
    if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') return 0;
    json->at += 2;
    int32_t low = hexadecimal(json);
    if (low < 0xDC00 || low > 0xDFFF) return 0;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  /* A NUL cannot be told from the end of a C text, and half a pair is no character. */
  if (code <= 0 || (code >= 0xDC00 && code < 0xE000)) return 0;
  return utf8(code, out);
}

bool json_text(Json *json, char *value, size_t value_size) {
  size_t length = 0;
  if (!take(json, '"')) return false;
  while (json->at < json->end && *json->at != '"') {
    char piece[4] = {*json->at++};
    size_t size = 1;
    if (piece[0] == '\\') size = escape(json, piece);
    if (size == 0 || piece[0] == '\0' || length + size >= value_size) return false;
    memcpy(value + length, piece, size);
    length += size;
  }
  value[length] = '\0';
  return take(json, '"');
}

static bool skip_value(Json *json, int depth) {
  skip_space(json);
  if (json->at >= json->end || depth > DEEPEST) return false;
  char first = *json->at;
  if (first == '"') {
    for (json->at++; json->at < json->end && *json->at != '"'; json->at++) {
      if (*json->at == '\\') json->at++;
    }
    return take(json, '"');
  }
  if (first == '{' || first == '[') {
    char last = first == '{' ? '}' : ']';
    json->at++;
    while (!take(json, last)) {
      if (!take(json, ',') && !take(json, ':') && !skip_value(json, depth + 1)) return false;
    }
    return true;
  }
  /* A number, true, false or null. */
  const char *begin = json->at;
  while (json->at < json->end && *json->at != '\0' && strchr(",]} \t\r\n", *json->at) == NULL) json->at++;
  return json->at > begin;
}

bool json_skip(Json *json) { return skip_value(json, 0); }
