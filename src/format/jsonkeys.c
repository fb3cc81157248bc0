// SPDX-License-Identifier: GPL-2.0-or-later
#include "jsonkeys.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static struct json_object *member(struct json_object *object, const char *key,
				  enum json_type type)
{
	struct json_object *value;

	if (!json_object_is_type(object, json_type_object) ||
	    !json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, type))
		return NULL;
	return value;
}

bool gw_json_u64(struct json_object *object, const char *key, uint64_t *value)
{
	struct json_object *const found = member(object, key, json_type_int);

	if (found == NULL || json_object_get_int64(found) < 0)
		return false;
	*value = json_object_get_uint64(found);
	return true;
}

bool gw_json_double(struct json_object *object, const char *key, double *value)
{
	struct json_object *found = member(object, key, json_type_double);
	double number;

	if (found == NULL)
		found = member(object, key, json_type_int);
	if (found == NULL)
		return false;
	number = json_object_get_double(found);
	if (!isfinite(number))
		return false;
	*value = number;
	return true;
}

bool gw_json_bool(struct json_object *object, const char *key, bool *value)
{
	struct json_object *const found = member(object, key, json_type_boolean);

	if (found == NULL)
		return false;
	*value = json_object_get_boolean(found) != 0;
	return true;
}

const char *gw_json_string(struct json_object *object, const char *key)
{
	struct json_object *const found = member(object, key, json_type_string);

	return found != NULL ? json_object_get_string(found) : NULL;
}

void gw_json_put_object(struct json_object *object, const char *key, struct json_object *value_give)
{
	int err;

	assert(json_object_is_type(object, json_type_object));
	err = json_object_object_add(object, key, value_give);
	assert(err == 0);
}

void gw_json_put_u64(struct json_object *object, const char *key, uint64_t value)
{
	struct json_object *const number = json_object_new_uint64(value);

	assert(number != NULL);
	gw_json_put_object(object, key, number);
}

void gw_json_put_double(struct json_object *object, const char *key, double value)
{
	struct json_object *number = NULL;	/* JSON has no infinity: null, so absent */

	if (isfinite(value)) {
		number = json_object_new_double(value);
		assert(number != NULL);
	}
	gw_json_put_object(object, key, number);
}

void gw_json_put_bool(struct json_object *object, const char *key, bool value)
{
	struct json_object *const boolean = json_object_new_boolean(value);

	assert(boolean != NULL);
	gw_json_put_object(object, key, boolean);
}

void gw_json_put_string(struct json_object *object, const char *key, const char *value)
{
	struct json_object *string;

	assert(value != NULL);
	string = json_object_new_string(value);
	assert(string != NULL);
	gw_json_put_object(object, key, string);
}

struct json_object *gw_json_text(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd";
	char *clean = malloc(strlen(text) * (sizeof(replacement) - 1) + 1);
	struct json_object *string;
	size_t used = 0;

	assert(clean != NULL);
	while (*text != '\0') {
		uint32_t code;
		const size_t length = gw_utf8_take(text, &code);
		const bool bad = code == GW_UTF8_BAD;
		const size_t count = bad ? sizeof(replacement) - 1 : length;

		memcpy(clean + used, bad ? replacement : text, count);
		used += count;
		text += length;
	}
	string = json_object_new_string_len(clean, (int)used);
	assert(string != NULL);
	free(clean);
	return string;
}

void gw_json_put_text(struct json_object *object, const char *key, const char *text)
{
	gw_json_put_object(object, key, gw_json_text(text));
}
