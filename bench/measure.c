// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs COMMAND and says what it took, with all that it started: whoever loses its
 * parent (the servers of nbdcopy) is adopted and waited for. Kernel threads (loop, write-back)
 * are nobody's children and are not in it.
 *
 * measure [-o FILE (instead of standard error)] COMMAND [ARGUMENT...]
 *
 * One line of JSON: wall_s, user_s, sys_s, status. Exit code: COMMAND's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double seconds(struct timeval tv)
{
	return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

/* Until there is no child left. Return: the exit code of the first one. */
static int wait_all(pid_t first, double start_s, double *wall_s)
{
	int code = 127, status;

	for (;;) {
		const pid_t pid = wait(&status);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return code;
		if (pid != first)
			continue;
		*wall_s = now_s() - start_s;
		code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}

int main(int argc, char **argv)
{
	struct rusage usage;
	double start_s, wall_s = 0;
	FILE *out = stderr;
	pid_t pid;
	int c, code;

	while ((c = getopt(argc, argv, "+o:")) != -1)
		out = c == 'o' ? fopen(optarg, "we") : NULL;
	if (out == NULL || optind == argc) {
		fprintf(stderr, "usage: measure [-o FILE] COMMAND [ARGUMENT...]\n");
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	start_s = now_s();
	pid = fork();
	if (pid == 0) {
		execvp(argv[optind], &argv[optind]);
		fprintf(stderr, "measure: %s: %s\n", argv[optind], strerror(errno));
		_exit(127);
	}
	if (pid < 0) {
		fprintf(stderr, "measure: fork: %s\n", strerror(errno));
		return 2;
	}
	code = wait_all(pid, start_s, &wall_s);
	getrusage(RUSAGE_CHILDREN, &usage);
	fprintf(out, "{\"wall_s\": %.6f, \"user_s\": %.6f, \"sys_s\": %.6f, \"status\": %d}\n",
		wall_s, seconds(usage.ru_utime), seconds(usage.ru_stime), code);
	return fclose(out) == 0 ? code : 2;
}
