// SPDX-License-Identifier: GPL-2.0-or-later
#include "ssd_control.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

#define SCHEMA_VERSION 1
#define WORDS_MAX 16u
#define PATIENCE_S 5			/* with a client that says nothing, or not all of it */
#define SEND_S 30			/* and with one that takes the whole answer slowly */

/* ---- What is told ------------------------------------------------------------------------------- */

static void add(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

/* ---- Commands --------------------------------------------------------------------------------- */

/* The words of a line; word[0] is the command. The answer is JSON, or what was printed. */
struct request {
	const struct gw_ssd_set *set;
	struct json_object *answer;
	FILE *out;
	char *word[WORDS_MAX];
	uint32_t words;
};

static int do_status(const struct request *r, struct gw_diag *diag)
{
	struct json_object *list = json_object_new_array();

	(void)diag;
	for (uint32_t i = 0; i < r->set->subsystems; i++)
		json_object_array_add(list, gw_observe_subsystem(r->set->subsys[i]));
	json_object_object_add(r->answer, "subsystems", list);
	add(r->answer, "trace_dropped", gw_trace_dropped());
	return 0;
}

static int do_power_cut(const struct request *r, struct gw_diag *diag)
{
	unsigned long long seed = 0;
	uint64_t lost = 0;
	char rest;

	if (r->words > 1 && (sscanf(r->word[1], "%llu%c", &seed, &rest) != 1 || seed == 0))
		return gw_fail(diag, -EINVAL, "the seed is a number that is not 0, and not '%s'",
			       r->word[1]);
	for (uint32_t i = 0; i < r->set->subsystems; i++)
		lost += gw_subsys_power_cut(r->set->subsys[i], seed);
	add(r->answer, "lost_sectors", lost);
	return 0;
}

static int do_switch_port(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *from = gw_ssd_set_find(r->set, r->word[1], diag), *to;

	if (from == NULL)
		return -EINVAL;
	to = gw_ssd_set_find(r->set, r->word[2], diag);
	return to == NULL ? -EINVAL : gw_port_switch(from, to, diag);
}

static int do_reset(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *c = gw_ssd_set_find(r->set, r->word[1], diag);

	if (c == NULL)
		return -EINVAL;
	gw_ctrl_reset(c);
	return 0;
}

static int do_fault(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *c = gw_ssd_set_find(r->set, r->word[1], diag);
	int id;

	if (c == NULL)
		return -EINVAL;
	id = gw_faults_add(&c->faults, r->word + 2, r->words - 2, diag);
	if (id >= 0)
		add(r->answer, "fault", (uint64_t)id);
	return id < 0 ? id : 0;
}

/* CONTROLLER [NUMBER] */
static int do_clear(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *c = gw_ssd_set_find(r->set, r->word[1], diag);
	unsigned int id = 0;
	uint32_t cleared;
	char rest;

	if (c == NULL)
		return -EINVAL;
	if (r->words > 2 && (sscanf(r->word[2], "%u%c", &id, &rest) != 1 || id == 0))
		return gw_fail(diag, -EINVAL, "a fault has a number, and not '%s'", r->word[2]);
	cleared = gw_faults_clear(&c->faults, id);
	if (cleared == 0 && id != 0)
		return gw_fail(diag, -EINVAL, "controller %s has no fault %u", r->word[1], id);
	add(r->answer, "cleared", cleared);
	return 0;
}

static int do_faults(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *c = gw_ssd_set_find(r->set, r->word[1], diag);
	struct json_object *list;

	if (c == NULL)
		return -EINVAL;
	list = json_object_new_array();
	pthread_mutex_lock(&c->faults.lock);
	for (uint32_t i = 0; i < GW_FAULT_RULES_MAX; i++) {
		const struct gw_fault_rule *rule = &c->faults.rule[i];
		struct json_object *o;

		if (rule->id == 0)
			continue;
		o = json_object_new_object();
		add(o, "fault", rule->id);
		json_object_object_add(o, "text", json_object_new_string(rule->text));
		add(o, "seen", rule->seen);
		add(o, "hits", rule->hits);
		json_object_array_add(list, o);
	}
	pthread_mutex_unlock(&c->faults.lock);
	json_object_object_add(r->answer, "faults", list);
	return 0;
}

static int do_remove(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *c = gw_ssd_set_find(r->set, r->word[1], diag);

	if (c == NULL)
		return -EINVAL;
	gw_ctrl_remove(c, strcmp(r->word[0], "remove") == 0);
	return 0;
}

static int do_trace(const struct request *r, struct gw_diag *diag)
{
	return gw_observe_trace(r->set, r->word + 1, r->words - 1, r->out, diag);
}

static int do_changes(const struct request *r, struct gw_diag *diag)
{
	return gw_observe_changes(r->set, r->word + 1, r->words - 1, r->out, diag);
}

static const struct {
	const char *name, *arguments;
	uint32_t words_min, words_max;	/* with the name */
	int (*run)(const struct request *r, struct gw_diag *diag);
} commands[] = {
	{ "status", "", 1, 1, do_status },
	{ "power-cut", " [SEED]", 1, 2, do_power_cut },
	{ "switch-port", " FROM TO", 3, 3, do_switch_port },
	{ "reset", " CONTROLLER", 2, 2, do_reset },
	{ "fault", " CONTROLLER ACTION[=VALUE] [CONDITION]...", 3, WORDS_MAX, do_fault },
	{ "faults", " CONTROLLER", 2, 2, do_faults },
	{ "clear", " CONTROLLER [NUMBER]", 2, 3, do_clear },
	{ "remove", " CONTROLLER", 2, 2, do_remove },
	{ "plug", " CONTROLLER", 2, 2, do_remove },
	{ "trace", " [json] [FILTER]...", 1, WORDS_MAX, do_trace },
	{ "changes", " SUBSYSTEM [FILTER]...", 2, WORDS_MAX, do_changes },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int fail_unknown(struct gw_diag *diag)
{
	char list[768] = "commands:";

	for (size_t i = 0; i < COMMANDS; i++) {
		const size_t used = strlen(list);

		snprintf(list + used, sizeof(list) - used, "%s %s%s", i > 0 ? "," : "", commands[i].name,
			 commands[i].arguments);
	}
	return gw_fail(diag, -EINVAL, "%s", list);
}

static int run(const struct request *r, struct gw_diag *diag)
{
	for (size_t i = 0; r->words > 0 && i < COMMANDS; i++) {
		if (strcmp(r->word[0], commands[i].name) != 0)
			continue;
		if (r->words < commands[i].words_min || r->words > commands[i].words_max)
			return gw_fail(diag, -EINVAL, "it is %s%s", commands[i].name,
				       commands[i].arguments);
		return commands[i].run(r, diag);
	}
	return fail_unknown(diag);
}

char *gw_ssd_control_answer(const struct gw_ssd_set *set, const char *line, bool *is_refused)
{
	struct request r = { .set = set, .answer = json_object_new_object() };
	struct gw_diag diag = { 0 };
	char copy[GW_SSD_LINE_BYTES_MAX], *rest = copy, *text, *printed = NULL;
	size_t printed_bytes = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word; r.words < WORDS_MAX && (word = strsep(&rest, " ")) != NULL;) {
		if (*word != '\0')
			r.word[r.words++] = word;
	}
	add(r.answer, "schema_version", SCHEMA_VERSION);
	r.out = open_memstream(&printed, &printed_bytes);
	if (rest != NULL && rest[strspn(rest, " ")] != '\0')
		*is_refused = gw_fail(&diag, -EINVAL, "a command has at most %u words", WORDS_MAX) < 0;
	else
		*is_refused = r.out == NULL || run(&r, &diag) < 0;
	if (r.out != NULL)
		fclose(r.out);
	if (*is_refused)
		json_object_object_add(r.answer, "error", json_object_new_string(diag.text));
	else if (strcmp(r.word[0], "trace") == 0 || strcmp(r.word[0], "changes") == 0)
		return json_object_put(r.answer), printed;
	free(printed);
	text = strdup(json_object_to_json_string_ext(r.answer,
						     JSON_C_TO_STRING_PLAIN |
							     JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(r.answer);
	return text;
}

static int run_line(const struct gw_ssd_set *set, const char *line, struct gw_diag *diag)
{
	struct json_object *answer = NULL, *error;
	bool is_refused;
	char *text = gw_ssd_control_answer(set, line, &is_refused);

	if (is_refused && text != NULL)
		answer = json_tokener_parse(text);
	if (is_refused)
		gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "%s",
			     json_object_object_get_ex(answer, "error", &error) ?
				     json_object_get_string(error) : "no memory");
	json_object_put(answer);
	free(text);
	return is_refused ? -EINVAL : 0;
}

int gw_ssd_control_script(const struct gw_ssd_set *set, const char *path, struct gw_diag *diag)
{
	FILE *file = fopen(path, "re");
	char line[GW_SSD_LINE_BYTES_MAX];
	unsigned int number = 0;
	int err = 0;

	if (file == NULL)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -errno, "cannot read %s: %s", path, strerror(errno));
	while (err == 0 && fgets(line, sizeof(line), file) != NULL) {
		struct gw_diag why = { 0 };

		number++;
		if (strlen(line) == sizeof(line) - 1) {
			err = gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "%s:%u: a command has at most %zu "
					   "bytes", path, number, sizeof(line) - 2);
			break;
		}
		line[strcspn(line, "\n")] = '\0';
		if (line[strspn(line, " ")] == '\0' || line[0] == '#')
			continue;
		err = run_line(set, line, &why);
		if (err < 0)
			gw_fail_exit(diag, GW_EXIT_USAGE, err, "%s:%u: %s", path, number, why.text);
	}
	fclose(file);
	return err;
}

/* ---- The socket ----------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	return gw_now_ns(&gw_clock_monotonic);
}

/* Others wait meanwhile. Return: 0, -EMSGSIZE: it is too long, or -EPIPE: there is none. */
static int read_line(int fd, char line[GW_SSD_LINE_BYTES_MAX])
{
	const uint64_t until_ns = now_ns() + PATIENCE_S * GW_NS_PER_S;
	uint32_t used = 0;

	while (used < GW_SSD_LINE_BYTES_MAX - 1) {
		const ssize_t got = recv(fd, line + used, 1, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || now_ns() > until_ns)
			return -EPIPE;
		if (line[used] == '\n') {
			line[used] = '\0';
			return 0;
		}
		used++;
	}
	return -EMSGSIZE;
}

static void send_text(int fd, const char *text, size_t bytes, uint64_t until_ns)
{
	while (bytes > 0 && now_ns() < until_ns) {
		const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return;
		text += sent;
		bytes -= (size_t)sent;
	}
}

static const char too_long[] = "{\"schema_version\":1,\"error\":\"a command has at most 1022 bytes\"}\n";
_Static_assert(GW_SSD_LINE_BYTES_MAX == 1024, "as it is told");

static void serve_client(const struct gw_ssd_control *control, int fd)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	char line[GW_SSD_LINE_BYTES_MAX];
	uint64_t until_ns;
	bool is_refused;
	char *answer;
	int err;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	err = read_line(fd, line);
	until_ns = now_ns() + SEND_S * GW_NS_PER_S;
	if (err == -EMSGSIZE)
		send_text(fd, too_long, strlen(too_long), until_ns);
	if (err < 0)
		return;
	answer = gw_ssd_control_answer(control->set, line, &is_refused);
	if (answer == NULL)
		return;
	send_text(fd, answer, strlen(answer), until_ns);
	if (answer[0] == '{' && answer[strlen(answer) - 1] != '\n')
		send_text(fd, "\n", 1, until_ns);
	free(answer);
}

static void *serve(void *arg)
{
	const struct gw_ssd_control *control = arg;

	int fd;

	while ((fd = gw_ssd_socket_accept(&control->socket)) >= 0) {
		serve_client(control, fd);
		close(fd);
	}
	return NULL;
}

int gw_ssd_control_open(struct gw_ssd_control *control, const char *path, const struct gw_ssd_set *set,
			struct gw_diag *diag)
{
	int err;

	*control = (struct gw_ssd_control){ .set = set };
	err = gw_ssd_socket_open(&control->socket, path, diag);
	if (err < 0)
		return err;
	err = pthread_create(&control->thread, NULL, serve, control);
	control->has_thread = err == 0;
	return err == 0 ? 0 : gw_fail(diag, -err, "cannot start a thread: %s", strerror(err));
}

void gw_ssd_control_close(struct gw_ssd_control *control)
{
	if (control->socket.path == NULL || control->socket.fd < 0)
		return;
	shutdown(control->socket.fd, SHUT_RDWR);
	if (control->has_thread)
		pthread_join(control->thread, NULL);
	gw_ssd_socket_close(&control->socket);
}

int gw_ssd_control_ask(const char *path, const char *line, struct gw_diag *diag)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[4096], start[64] = "";
	ssize_t got;

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return gw_fail(diag, -EINVAL, "%s is no socket", path);
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		const int err = -errno;

		close(fd);
		return gw_fail(diag, err, "cannot connect to %s: %s", path, strerror(-err));
	}
	send_text(fd, line, strlen(line), UINT64_MAX);
	send_text(fd, "\n", 1, UINT64_MAX);
	while ((got = recv(fd, text, sizeof(text), 0)) > 0) {
		if (start[0] == '\0')
			snprintf(start, sizeof(start), "%.*s", (int)got, text);
		fwrite(text, 1, (size_t)got, stdout);
	}
	close(fd);
	if (fflush(stdout) != 0 || got != 0)
		return gw_fail(diag, -EIO, "%s: no answer", path);
	return strstr(start, "\"error\":") == NULL ? 0 : gw_fail(diag, -EINVAL, "refused");
}
