// SPDX-License-Identifier: GPL-2.0-or-later
/* Completion for the shell, made from the same rows as parser and help. */
#include "verbs.h"

#include <string.h>

#include <godwit/version.h>

struct settings {
	struct gw_common common;
};

static void print_options(const struct gw_verb *verb)
{
	const struct gw_option *row;

	printf("\t'%s') options='", verb->name);
	for (uint32_t i = 0; (row = gw_option_at(verb, i)) != NULL; i++)
		printf("%s--%s", i > 0 ? " " : "", row->name);
	printf("' ;;\n");
}

/* A case for each option that takes a value; bash itself completes files and directories. */
static void print_values(const struct gw_verb *verb)
{
	const struct gw_option *row;

	for (uint32_t i = 0; (row = gw_option_at(verb, i)) != NULL; i++) {
		if (row->kind == GW_OPTION_FLAG)
			continue;
		/* An optional value needs the "=". */
		if (row->kind != GW_OPTION_ENUM_OPTIONAL)
			printf("\t'%s --%s' | '%s --%s=') ", verb->name, row->name,
			       verb->name, row->name);
		else
			printf("\t'%s --%s=') ", verb->name, row->name);
		if (row->choices != NULL) {
			printf("values='");
			for (const struct gw_choice *c = row->choices; c->name != NULL; c++)
				printf("%s%s", c != row->choices ? " " : "", c->name);
			printf("' ;;\n");
		} else {
			printf("files=%s ;;\n", strcmp(row->argument, "DIR") == 0 ? "-d" : "none");
		}
	}
}

/* First words, each once, or the second words of a group. */
static void print_verbs(const char *group)
{
	const size_t length = group != NULL ? strlen(group) + 1 : 0;
	char before[64] = "";

	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++) {
		const char *word = (*at)->name + length;
		char first[64];

		if (length > 0 && (strncmp((*at)->name, group, length - 1) != 0 ||
				   (*at)->name[length - 1] != ' '))
			continue;
		snprintf(first, sizeof(first), "%.*s", (int)strcspn(word, " "), word);
		if (strcmp(first, before) != 0)
			printf("%s%s", before[0] != '\0' ? " " : "", first);
		memcpy(before, first, sizeof(before));
	}
}

static void print_tables(void)
{
	printf("\tcase \"$verb\" in\n\t'') values='");
	print_verbs(NULL);
	printf("' files=none ;;\n\ttrack) values='");
	print_verbs("track");
	printf("' files=none ;;\n");
	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++)
		print_options(*at);
	printf("\tesac\n\tcase \"$verb $option\" in\n");
	for (const struct gw_verb *const *at = gw_verbs; *at != NULL; at++)
		print_values(*at);
	printf("\tesac\n");
}

static int run(const struct gw_call *call)
{
	if (strcmp(call->operands[0], "bash") != 0)
		return gw_verb_usage_error(call, "\"%s\" is no shell that is known here; give bash",
					      call->operands[0]);
	printf("# bash completion for godwit %s, made by \"godwit completion bash\"\n"
	       "_godwit()\n"
	       "{\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]}\n"
	       "\tlocal verb='' values='' options='' files=-f\n"
	       "\n"
	       "\t# \"--option=value\" comes as three words\n"
	       "\tif [[ $cur == '=' ]]; then\n"
	       "\t\tcur='' option+='='\n"
	       "\telif [[ $option == '=' ]]; then\n"
	       "\t\toption=${COMP_WORDS[COMP_CWORD-2]}'='\n"
	       "\tfi\n"
	       "\tif ((COMP_CWORD > 1)); then\n"
	       "\t\tverb=${COMP_WORDS[1]}\n"
	       "\t\tif [[ $verb == track ]] && ((COMP_CWORD > 2)); then\n"
	       "\t\t\tverb+=\" ${COMP_WORDS[2]}\"\n"
	       "\t\tfi\n"
	       "\tfi\n", GODWIT_VERSION);
	print_tables();
	printf("\tif [[ $cur == -* ]]; then\n"
	       "\t\tvalues=$options files=none\n"
	       "\tfi\n"
	       "\tif [[ -n $values ]]; then\n"
	       "\t\tmapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$cur\")\n"
	       "\telif [[ $files != none ]]; then\n"
	       "\t\tmapfile -t COMPREPLY < <(compgen \"$files\" -- \"$cur\")\n"
	       "\t\tcompopt -o filenames 2>/dev/null\n"
	       "\tfi\n"
	       "}\n"
	       "complete -F _godwit godwit\n");
	return GW_EXIT_DONE;
}

const struct gw_verb gw_verb_completion = {
	.name = "completion",
	.operands = "bash",
	.summary = "print the completion for a shell",
	.about = "Prints the completion for bash: source it, or put it into "
		 "/usr/share/bash-completion/completions/godwit.",
	.operands_min = 1,
	.operands_max = 1,
	.settings_bytes = sizeof(struct settings),
	.tables = { gw_options_common },
	.run = run,
};
