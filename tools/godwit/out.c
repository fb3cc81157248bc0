// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "out_text.h"

struct json_object *gw_out_document(void)
{
	struct json_object *document = json_object_new_object();

	assert(document != NULL);
	gw_json_put_u64(document, "schema_version", GW_OUT_SCHEMA_VERSION);
	return document;
}

void gw_out_print(FILE *out, struct json_object *document_give)
{
	fprintf(out, "%s\n",
		json_object_to_json_string_ext(document_give, JSON_C_TO_STRING_PRETTY |
					       JSON_C_TO_STRING_SPACED |
					       JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(document_give);
}

static struct json_object *string_of(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd";
	char *clean = malloc(strlen(text) * (sizeof(replacement) - 1) + 1);
	struct json_object *string;
	size_t used = 0;

	assert(clean != NULL);
	while (*text != '\0') {
		uint32_t code;
		const size_t length = gw_out_take_utf8(text, &code);
		const bool bad = code == GW_OUT_BAD_UTF8;
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

void gw_out_put_text(struct json_object *object, const char *key, const char *text)
{
	const int err = json_object_object_add(object, key, string_of(text));

	assert(err == 0);
}

void gw_out_string(FILE *out, const char *text)
{
	struct json_object *string = string_of(text);

	fputs(json_object_to_json_string_ext(string, JSON_C_TO_STRING_PLAIN |
					     JSON_C_TO_STRING_NOSLASHESCAPE), out);
	json_object_put(string);
}
