/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON objects by key: of the journal's records, of messages, of what is printed. Pure. */
#ifndef GW_JSONKEYS_H
#define GW_JSONKEYS_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

/* Checked access to payloads from outside: false if absent, of another type, or out of range; *value untouched then. */
bool gw_json_u64(struct json_object *object, const char *key, uint64_t *value);
bool gw_json_double(struct json_object *object, const char *key, double *value);
bool gw_json_bool(struct json_object *object, const char *key, bool *value);
/* The string is borrowed from object; NULL if absent or no string. */
const char *gw_json_string(struct json_object *object, const char *key);

/* Adds to object; assert on no memory. Short names because every record uses them. */
void gw_json_put_u64(struct json_object *object, const char *key, uint64_t value);
void gw_json_put_double(struct json_object *object, const char *key, double value);
void gw_json_put_bool(struct json_object *object, const char *key, bool value);
void gw_json_put_string(struct json_object *object, const char *key, const char *value);
/* Text from outside: JSON is UTF-8, a path need not be; what is none becomes U+FFFD. */
void gw_json_put_text(struct json_object *object, const char *key, const char *text);
/* The same text as a JSON string. */
struct json_object *gw_json_text(const char *text);
/* An object under key; value may be NULL for null. */
void gw_json_put_object(struct json_object *object, const char *key, struct json_object *value_give);

#endif
