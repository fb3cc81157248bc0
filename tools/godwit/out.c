// SPDX-License-Identifier: GPL-2.0-or-later
#include "out.h"

#include <assert.h>

#include "jsonkeys.h"

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

void gw_out_string(FILE *out, const char *text)
{
	struct json_object *string = gw_json_text(text);

	fputs(json_object_to_json_string_ext(string, JSON_C_TO_STRING_PLAIN |
					     JSON_C_TO_STRING_NOSLASHESCAPE), out);
	json_object_put(string);
}
