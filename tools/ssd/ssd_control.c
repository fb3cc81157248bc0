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

#define SCHEMA_VERSION 1
#define WORDS_MAX 16u
#define PATIENCE_S 5			/* with a client that says nothing */

/* ---- What is told ------------------------------------------------------------------------------- */

static void add(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static const char *state_of(const struct gw_ctrl *c)
{
	if ((c->csts & NVME_CSTS_CFS) != 0)
		return "failed";
	if (c->is_suspended)
		return "suspended";
	if ((c->csts & NVME_CSTS_SHST_MASK) != 0)
		return "shut down";
	return (c->csts & NVME_CSTS_RDY) != 0 ? "ready" : "disabled";
}

static struct json_object *describe_controller(struct gw_ctrl *c)
{
	struct json_object *o = json_object_new_object();
	uint32_t queues = 0;

	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 1; i <= GW_SSD_QUEUES_MAX; i++)
		queues += c->sq[i].is_live;
	add(o, "cntlid", c->cntlid);
	json_object_object_add(o, "manages_migrations", json_object_new_boolean(c->is_manager));
	json_object_object_add(o, "state", json_object_new_string(state_of(c)));
	add(o, "io_queues", queues);
	add(o, "commands", c->counters.commands);
	add(o, "read_commands", c->counters.read_commands);
	add(o, "write_commands", c->counters.write_commands);
	add(o, "read_bytes", c->counters.bytes_read);
	add(o, "written_bytes", c->counters.bytes_written);
	add(o, "errors", c->counters.errors);
	pthread_mutex_unlock(&c->lock);
	return o;
}

static struct json_object *describe_namespace(struct gw_ns *ns)
{
	struct json_object *o = json_object_new_object();

	pthread_mutex_lock(&ns->lock);
	add(o, "nsid", ns->nsid);
	add(o, "size_bytes", ns->bytes);
	add(o, "block_bytes", UINT64_C(1) << ns->lbads);
	add(o, "written_blocks", ns->written_count);
	add(o, "uncorrectable_blocks", ns->bad_count);
	add(o, "cached_pages", ns->cache.used);
	pthread_mutex_unlock(&ns->lock);
	return o;
}

static struct json_object *describe_logs(struct gw_subsys *ss)
{
	struct json_object *list = json_object_new_array();

	pthread_mutex_lock(&ss->lm_lock);
	for (uint32_t i = 0; i < GW_SSD_CDQS_MAX; i++) {
		const struct gw_cdq *q = &ss->cdq[i];
		struct json_object *o;

		if (!q->is_live)
			continue;
		o = json_object_new_object();
		add(o, "cdqid", q->id);
		add(o, "cntlid", q->logged->cntlid);
		json_object_object_add(o, "logging", json_object_new_boolean(q->is_logging));
		add(o, "slots", q->slots);
		add(o, "head", q->head);
		add(o, "tail", q->tail);
		add(o, "posted", q->posted);
		add(o, "lost", q->lost);
		json_object_array_add(list, o);
	}
	pthread_mutex_unlock(&ss->lm_lock);
	return list;
}

static struct json_object *describe(struct gw_subsys *ss)
{
	struct json_object *o = json_object_new_object(), *controllers = json_object_new_array();
	struct json_object *namespaces = json_object_new_array();

	json_object_object_add(o, "nqn", json_object_new_string(ss->config.nqn));
	for (uint32_t i = 0; i < ss->ctrls; i++)
		json_object_array_add(controllers, describe_controller(ss->ctrl[i]));
	json_object_object_add(o, "controllers", controllers);
	pthread_rwlock_rdlock(&ss->ns_lock);
	for (uint32_t i = 0; i < GW_SSD_NAMESPACES_MAX; i++) {
		if (ss->ns[i] != NULL)
			json_object_array_add(namespaces, describe_namespace(ss->ns[i]));
	}
	pthread_rwlock_unlock(&ss->ns_lock);
	json_object_object_add(o, "namespaces", namespaces);
	json_object_object_add(o, "change_logs", describe_logs(ss));
	return o;
}

/* ---- Commands --------------------------------------------------------------------------------- */

/* The words of a line; word[0] is the command. */
struct request {
	const struct gw_ssd_set *set;
	struct json_object *answer;
	char *word[WORDS_MAX];
	uint32_t words;
};

static int do_status(const struct request *r, struct gw_diag *diag)
{
	struct json_object *list = json_object_new_array();

	(void)diag;
	for (uint32_t i = 0; i < r->set->subsystems; i++)
		json_object_array_add(list, describe(r->set->subsys[i]));
	json_object_object_add(r->answer, "subsystems", list);
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

/* SUBSYSTEM/CNTLID. Return: NULL: there is none, said. */
static struct gw_ctrl *controller_of(const struct request *r, const char *name, struct gw_diag *diag)
{
	unsigned int subsystem = 0, cntlid = 0;
	struct gw_ctrl *c = NULL;
	char rest;

	if (sscanf(name, "%u/%u%c", &subsystem, &cntlid, &rest) == 2 && subsystem >= 1 &&
	    subsystem <= r->set->subsystems && cntlid <= UINT16_MAX)
		c = gw_subsys_controller(r->set->subsys[subsystem - 1], (uint16_t)cntlid);
	if (c == NULL)
		gw_fail(diag, -EINVAL, "there is no controller %s: 1/2 is controller 2 of the first "
				       "subsystem; status has them", name);
	return c;
}

static int do_switch_port(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *from = controller_of(r, r->word[1], diag), *to;

	if (from == NULL)
		return -EINVAL;
	to = controller_of(r, r->word[2], diag);
	return to == NULL ? -EINVAL : gw_port_switch(from, to, diag);
}

static int do_reset(const struct request *r, struct gw_diag *diag)
{
	struct gw_ctrl *c = controller_of(r, r->word[1], diag);

	if (c == NULL)
		return -EINVAL;
	gw_ctrl_reset(c);
	return 0;
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
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int fail_unknown(struct gw_diag *diag)
{
	char list[512] = "commands:";

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
	char copy[GW_SSD_LINE_BYTES_MAX], *rest = copy, *text;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word; r.words < WORDS_MAX && (word = strsep(&rest, " ")) != NULL;) {
		if (*word != '\0')
			r.word[r.words++] = word;
	}
	add(r.answer, "schema_version", SCHEMA_VERSION);
	*is_refused = run(&r, &diag) < 0;
	if (*is_refused)
		json_object_object_add(r.answer, "error", json_object_new_string(diag.text));
	text = strdup(json_object_to_json_string_ext(r.answer,
						     JSON_C_TO_STRING_PLAIN |
							     JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(r.answer);
	return text;
}

/* ---- The socket ----------------------------------------------------------------------------------- */

/* Return: bytes of the line without its end, or -1: none, or too long. */
static int read_line(int fd, char line[GW_SSD_LINE_BYTES_MAX])
{
	uint32_t used = 0;

	while (used < GW_SSD_LINE_BYTES_MAX - 1) {
		const ssize_t got = recv(fd, line + used, 1, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		if (line[used] == '\n') {
			line[used] = '\0';
			return (int)used;
		}
		used++;
	}
	return -1;
}

static void send_text(int fd, const char *text, size_t bytes)
{
	while (bytes > 0) {
		const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return;
		text += sent;
		bytes -= (size_t)sent;
	}
}

static void serve_client(const struct gw_ssd_control *control, int fd)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	char line[GW_SSD_LINE_BYTES_MAX];
	bool is_refused;
	char *answer;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (read_line(fd, line) < 0)
		return;
	answer = gw_ssd_control_answer(control->set, line, &is_refused);
	if (answer == NULL)
		return;
	send_text(fd, answer, strlen(answer));
	send_text(fd, "\n", 1);
	free(answer);
}

static void *serve(void *arg)
{
	const struct gw_ssd_control *control = arg;

	for (;;) {
		const int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return NULL;
		serve_client(control, fd);
		close(fd);
	}
}

int gw_ssd_control_open(struct gw_ssd_control *control, const char *path, const struct gw_ssd_set *set,
			struct gw_diag *diag)
{
	int err;

	*control = (struct gw_ssd_control){ .path = path, .set = set };
	control->fd = gw_listen_on(path, diag);
	if (control->fd < 0)
		return control->fd;
	err = pthread_create(&control->thread, NULL, serve, control);
	control->has_thread = err == 0;
	return err == 0 ? 0 : gw_fail(diag, -err, "cannot start a thread: %s", strerror(err));
}

void gw_ssd_control_close(struct gw_ssd_control *control)
{
	if (control->path == NULL || control->fd < 0)
		return;
	shutdown(control->fd, SHUT_RDWR);
	if (control->has_thread)
		pthread_join(control->thread, NULL);
	unlink(control->path);
	close(control->fd);
	control->fd = -1;
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
	send_text(fd, line, strlen(line));
	send_text(fd, "\n", 1);
	while ((got = recv(fd, text, sizeof(text), 0)) > 0) {
		if (start[0] == '\0')
			snprintf(start, sizeof(start), "%.*s", (int)got, text);
		fwrite(text, 1, (size_t)got, stdout);
	}
	close(fd);
	if (fflush(stdout) != 0 || got != 0 || start[0] == '\0')
		return gw_fail(diag, -EIO, "%s: no answer", path);
	return strstr(start, "\"error\":") == NULL ? 0 : gw_fail(diag, -EINVAL, "refused");
}
