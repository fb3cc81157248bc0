// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The conformance suite: conform [--transport NAME] [--table] [NUMBER]...; without a name, on all
 * transports in turn.
 *
 * Each item in a process of its own, with a drive of its own, so that one that crashes or hangs is
 * an answer, too. TAP lines, or a table; the last line is the counts. Exit status 1: an item failed.
 */
#include "conform.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_S 300

/* Where drives keep what they have; it goes with us, however an item ends. */
static char scratch[] = "/tmp/godwit-conform-XXXXXX";

static const struct cf_transport *const transports[] = { &cf_in_process, &cf_over_vfio_user };
static const struct cf_chapter *const chapters[] = { &cf_advertised, &cf_queues, &cf_log,
						     &cf_suspend,    &cf_state,	 &cf_memory,
						     &cf_allocation, &cf_hosts };
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum verdict { SHOWN, FAILED, NOT_SHOWN };

struct result {
	enum verdict verdict;
	char got[400];
};

struct options {
	const struct cf_transport *transport, *only; /* the one in use; NULL: no other */
	bool is_table;
	char **wanted; /* NULL at the end; none: all */
};

/* ---- One item ----------------------------------------------------------------------------------------- */

/* In the child. */
static void run_here(const struct options *o, const struct cf_item *item, int to)
{
	struct result result = { .verdict = NOT_SHOWN };
	struct cf t = { .got = "" };

	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	alarm(LIMIT_S);
	if (chdir(scratch) < 0)
		_exit(1);
	if (o->transport->open(&t.drive, item->kind)) {
		item->run(&t);
		o->transport->close();
		result.verdict = t.is_failed ? FAILED : SHOWN;
		memcpy(result.got, t.got, sizeof(result.got));
	} else {
		strcpy(result.got, "there is no such drive on this transport");
	}
	if (write(to, &result, sizeof(result)) != (ssize_t)sizeof(result))
		_exit(1);
	exit(0);
}

static struct result run_item(const struct options *o, const struct cf_item *item)
{
	struct result result = { .verdict = FAILED };
	int pipe_fd[2], status;
	pid_t child;

	if (item->run == NULL) {
		result.verdict = NOT_SHOWN;
		snprintf(result.got, sizeof(result.got), "%s", item->reason);
		return result;
	}
	fflush(stdout);
	if (pipe(pipe_fd) < 0 || (child = fork()) < 0) {
		strcpy(result.got, "there is no process for it");
		return result;
	}
	if (child == 0)
		run_here(o, item, pipe_fd[1]);
	close(pipe_fd[1]);
	if (read(pipe_fd[0], &result, sizeof(result)) != (ssize_t)sizeof(result))
		result = (struct result){ .verdict = FAILED };
	close(pipe_fd[0]);
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		result.verdict = FAILED;
		snprintf(result.got + strlen(result.got), sizeof(result.got) - strlen(result.got),
			 " (the test came to a bad end: %s %d)",
			 WIFEXITED(status) ? "exit" : "signal",
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	}
	return result;
}

/* ---- All of them ---------------------------------------------------------------------------------------- */

static bool is_wanted(const struct options *o, uint32_t number)
{
	if (o->wanted[0] == NULL)
		return true;
	for (char **w = o->wanted; *w != NULL; w++) {
		if (strtoul(*w, NULL, 10) == number)
			return true;
	}
	return false;
}

static void print(const struct options *o, const struct cf_item *item, const struct result *result)
{
	static const char *const words[] = { "shown", "FAILED", "not shown" };

	if (o->is_table)
		printf("HMLM-%03u  %-9s  expected: %s\n%21sgot:      %s\n", item->number,
		       words[result->verdict], item->statement, "", result->got);
	else if (result->verdict == NOT_SHOWN)
		printf("# HMLM-%03u is not shown: %s\n", item->number, result->got);
	else
		printf("%s - %s: HMLM-%03u %s\n# got: %s\n",
		       result->verdict == SHOWN ? "ok" : "not ok", o->transport->name, item->number,
		       item->statement, result->got);
}

static int run_all(const struct options *o)
{
	uint32_t counts[3] = { 0 };

	for (size_t i = 0; i < COUNT(chapters); i++) {
		for (size_t k = 0; k < chapters[i]->count; k++) {
			const struct cf_item *item = &chapters[i]->items[k];
			struct result result;

			if (!is_wanted(o, item->number))
				continue;
			result = run_item(o, item);
			print(o, item, &result);
			counts[result.verdict]++;
		}
	}
	printf("%s%s: %u shown, %u failed, %u not shown here\n", o->is_table ? "" : "# ",
	       o->transport->name, counts[SHOWN], counts[FAILED], counts[NOT_SHOWN]);
	return counts[FAILED] == 0 ? 0 : 1;
}

static void remove_scratch(void)
{
	char command[sizeof(scratch) + 16];

	snprintf(command, sizeof(command), "rm -rf %s", scratch);
	if (system(command) != 0)
		fprintf(stderr, "%s is still there\n", scratch);
}

/* We become what removes it: a handler can call little else. */
static void remove_and_end(int number)
{
	(void)number;
	execl("/bin/sh", "sh", "-c", "rm -rf \"$0\"; exit 1", scratch, (char *)NULL);
	_exit(1);
}

static void make_scratch(void)
{
	if (mkdtemp(scratch) == NULL) {
		perror(scratch);
		exit(1);
	}
	signal(SIGHUP, remove_and_end);
	signal(SIGINT, remove_and_end);
	signal(SIGTERM, remove_and_end);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int at = 1, status = 0;

	signal(SIGPIPE, SIG_IGN);
	for (; at < argc && argv[at][0] == '-'; at++) {
		const char *name =
			strcmp(argv[at], "--transport") == 0 && at + 1 < argc ? argv[++at] : "";
		size_t i = 0;

		if (strcmp(argv[at], "--table") == 0) {
			o.is_table = true;
			continue;
		}
		while (i < COUNT(transports) && strcmp(transports[i]->name, name) != 0)
			i++;
		if (i == COUNT(transports)) {
			fputs("usage: conform [--transport in-process|vfio-user] [--table] "
			      "[NUMBER]...\n",
			      stderr);
			return 2;
		}
		o.only = transports[i];
	}
	o.wanted = argv + at;
	make_scratch();
	for (size_t i = 0; i < COUNT(transports); i++) {
		o.transport = transports[i];
		if (o.only == NULL || o.only == o.transport)
			status |= run_all(&o);
	}
	remove_scratch();
	return status;
}
