// SPDX-License-Identifier: GPL-2.0-or-later
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "handoff.h"

static struct gw_node source, target;
static char dir[] = "/tmp/gw-handoff-XXXXXX";
static int answer;	/* of the journal */

static int fake_committed(const char *state_dir)
{
	cr_assert_str_eq(state_dir, dir);
	return answer;
}

static struct gw_handoff_config config_for(enum gw_handoff_kind kind)
{
	const struct gw_handoff_config config = {
		.kind = kind, .migration = "unit", .source = &source, .target = &target,
		.state_dir = dir, .deadline_ns = 20 * GW_NS_PER_S,
		.exec_quiesce = "echo $GODWIT_PHASE >> $GODWIT_STATE_DIR/log",
		.exec_switch = "echo $GODWIT_PHASE >> $GODWIT_STATE_DIR/log",
		.exec_resume = "echo $GODWIT_PHASE >> $GODWIT_STATE_DIR/log",
		.exec_abort = "echo $GODWIT_PHASE >> $GODWIT_STATE_DIR/log",
	};

	return config;
}

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(dir));
	strcpy(source.path, "/dev/source");
	strcpy(target.path, "/dev/target");
	gw_handoff_committed = fake_committed;
	answer = 0;
}

static void tear_down(void)
{
	char command[128];

	/* The watchdog, and whatever else was started, is reaped. */
	cr_expect(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(handoff, .init = set_up, .fini = tear_down, .timeout = 180);

static void path_in(char path[128], const char *name)
{
	snprintf(path, 128, "%s/%s", dir, name);
}

static void read_file(char have[1024], const char *name)
{
	char path[128];
	FILE *file;

	have[0] = '\0';
	path_in(path, name);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	have[fread(have, 1, 1023, file)] = '\0';
	fclose(file);
}

static void expect_file(const char *name, const char *want)
{
	char have[1024];

	read_file(have, name);
	cr_expect_str_eq(have, want);
}

/* Until the file holds the text; 30 seconds are more than it can take. */
static void wait_for_text(const char *name, const char *text)
{
	char have[1024] = "";

	for (int ms = 0; ms < 30000 && strstr(have, text) == NULL; ms++) {
		usleep(1000);
		read_file(have, name);
	}
}

static struct gw_handoff *create(const struct gw_handoff_config *config)
{
	struct gw_handoff *handoff = NULL;

	cr_assert_eq(gw_handoff_create(&handoff, config), 0);
	return handoff;
}

static struct gw_handoff *create_in(enum gw_handoff_state state,
				    const struct gw_handoff_config *config)
{
	struct gw_handoff *const handoff = create(config);

	if (state >= GW_HANDOFF_PREPARED)
		cr_assert_eq(gw_handoff_prepare(handoff, NULL), 0);
	if (state >= GW_HANDOFF_QUIESCED)
		cr_assert_eq(gw_handoff_quiesce(handoff, NULL), 0);
	if (state >= GW_HANDOFF_COMMITTING)
		cr_assert_eq(gw_handoff_begin_commit(handoff, NULL), 0);
	if (state >= GW_HANDOFF_SWITCHED)
		cr_assert_eq(gw_handoff_switch(handoff, NULL), 0);
	if (state >= GW_HANDOFF_RESUMED)
		cr_assert_eq(gw_handoff_resume(handoff, NULL), 0);
	return handoff;
}

/* ---- Order of calls. ---- */

static const struct { const char *name; int (*fn)(struct gw_handoff *, struct gw_diag *); } calls[] = {
	{ "prepare", gw_handoff_prepare }, { "quiesce", gw_handoff_quiesce },
	{ "begin_commit", gw_handoff_begin_commit }, { "switch", gw_handoff_switch },
	{ "resume", gw_handoff_resume },
};

/* Each call is right in one state, and dies by an assert in all others. */
Test(handoff, order_is_checked)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_NONE);

	for (int state = GW_HANDOFF_NEW; state <= GW_HANDOFF_ABORTED; state++)
		for (int call = 0; call < 5; call++) {
			int status;
			const pid_t pid = fork();

			if (pid == 0) {
				struct gw_handoff *handoff;

				signal(SIGABRT, SIG_DFL);
				close(STDERR_FILENO);
				handoff = create_in(state == GW_HANDOFF_ABORTED ? GW_HANDOFF_NEW :
						    (enum gw_handoff_state)state, &config);
				if (state == GW_HANDOFF_ABORTED)
					gw_handoff_abort(handoff, NULL);
				_exit(calls[call].fn(handoff, NULL));
			}
			cr_assert_eq(waitpid(pid, &status, 0), pid);
			if (call == state)
				cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0,
					  "%s in state %d", calls[call].name, state);
			else
				cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
					  "%s in state %d", calls[call].name, state);
		}
}

Test(handoff, none_does_nothing)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_NONE);
	struct gw_handoff *const handoff = create_in(GW_HANDOFF_PREPARED, &config);
	uint64_t cost_ns = 1;

	cr_expect_eq(gw_handoff_sync(handoff, &cost_ns, NULL), 0);
	cr_expect_lt(cost_ns, 20 * GW_NS_PER_S);
	cr_expect_str_eq(gw_handoff_recovery_json(handoff),
			 "{\"handoff\":\"none\",\"migration\":\"unit\"}");
	cr_expect_eq(gw_handoff_recover(gw_handoff_recovery_json(handoff), false, NULL), 0);
	cr_expect_eq(gw_handoff_user_ns(handoff), 0);
	gw_handoff_destroy(handoff);
	gw_handoff_destroy(NULL);
	expect_file("log", "");
}

/* ---- exec. ---- */

Test(handoff, exec_goes_through)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_handoff *const handoff = create_in(GW_HANDOFF_RESUMED, &config);

	expect_file("log", "quiesce\nswitch\nresume\n");
	cr_expect_gt(gw_handoff_user_ns(handoff), 0);
	cr_expect_eq(gw_handoff_abort(handoff, NULL), -EPERM);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\nswitch\nresume\n");
}

Test(handoff, exec_aborts_once)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_handoff *const handoff = create_in(GW_HANDOFF_QUIESCED, &config);

	cr_expect_eq(gw_handoff_abort(handoff, NULL), 0);
	cr_expect_eq(gw_handoff_abort(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\nabort\n");
}

Test(handoff, exec_destroyed_quiesced_aborts)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);

	gw_handoff_destroy(create_in(GW_HANDOFF_QUIESCED, &config));
	expect_file("log", "quiesce\nabort\n");
}

/* Armed early, and then given up: nothing was stopped, nothing is started again. */
Test(handoff, exec_armed_and_given_up_runs_nothing)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_handoff *handoff = create_in(GW_HANDOFF_PREPARED, &config);

	cr_assert_eq(gw_handoff_arm(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	handoff = create_in(GW_HANDOFF_PREPARED, &config);
	cr_assert_eq(gw_handoff_arm(handoff, NULL), 0);
	cr_expect_eq(gw_handoff_abort(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	expect_file("log", "");
	handoff = create_in(GW_HANDOFF_PREPARED, &config);
	cr_assert_eq(gw_handoff_arm(handoff, NULL), 0);
	cr_assert_eq(gw_handoff_quiesce(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\nabort\n");
}

/* Between begin_commit and switch only the journal knows. */
Test(handoff, exec_abort_asks_the_journal)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_diag diag = { 0 };
	struct gw_handoff *handoff = create_in(GW_HANDOFF_COMMITTING, &config);

	answer = -EBADMSG;
	cr_expect_eq(gw_handoff_abort(handoff, &diag), -EBADMSG);
	cr_expect_eq(diag.exit_code, GW_EXIT_UNCLEAR);
	answer = 1;
	cr_expect_eq(gw_handoff_abort(handoff, NULL), -EPERM);
	answer = 0;
	cr_expect_eq(gw_handoff_abort(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\nabort\n");
}

/* An owner that gives up leaves it to the watchdog, which asked the journal when it was forked. */
Test(handoff, exec_destroyed_committing)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);

	answer = 1;
	gw_handoff_destroy(create_in(GW_HANDOFF_COMMITTING, &config));
	expect_file("log", "quiesce\nswitch\nresume\n");
}

Test(handoff, exec_destroyed_switched)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);

	answer = 1;
	gw_handoff_destroy(create_in(GW_HANDOFF_SWITCHED, &config));
	expect_file("log", "quiesce\nswitch\nresume\n");
}

Test(handoff, exec_failed_quiesce_aborts)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_diag diag = { 0 };
	struct gw_handoff *handoff;

	config.exec_quiesce = "exit 3";
	handoff = create_in(GW_HANDOFF_PREPARED, &config);
	cr_expect_eq(gw_handoff_quiesce(handoff, &diag), -EIO);
	cr_expect_not_null(strstr(diag.text, "quiesce command failed with status 3"));
	cr_expect_eq(diag.exit_code, GW_EXIT_IO);
	cr_expect_eq(gw_handoff_abort(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	expect_file("log", "abort\n");
}

Test(handoff, exec_failed_abort_is_unclear)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_diag diag = { 0 };
	struct gw_handoff *handoff;

	config.exec_abort = "echo tried >> $GODWIT_STATE_DIR/log; false";
	handoff = create_in(GW_HANDOFF_QUIESCED, &config);
	cr_expect_eq(gw_handoff_abort(handoff, &diag), -EIO);
	cr_expect_eq(diag.exit_code, GW_EXIT_UNCLEAR);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\ntried\n");
}

/* What failed after the commit is not tried again behind the user's back. */
Test(handoff, exec_failed_switch)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_diag diag = { 0 };
	struct gw_handoff *handoff;

	answer = 1;
	config.exec_switch = "echo tried >> $GODWIT_STATE_DIR/log; false";
	handoff = create_in(GW_HANDOFF_COMMITTING, &config);
	cr_expect_eq(gw_handoff_switch(handoff, &diag), -EIO);
	cr_expect_eq(diag.exit_code, GW_EXIT_UNCLEAR);
	cr_expect_eq(gw_handoff_abort(handoff, NULL), -EPERM);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\ntried\n");
}

/* Reaped, or a zombie that init has not come to yet. */
static bool is_dead(int pid)
{
	char path[64], byte;
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return true;
	n = fread(&byte, 1, 1, file);
	fclose(file);
	return n == 0;
}

/* A whole group is killed, also what ignores SIGTERM. */
Test(handoff, exec_takes_too_long)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_diag diag = { 0 };
	struct gw_handoff *handoff;
	uint64_t start_ns;
	char path[128], text[32] = "";
	FILE *file;

	config.exec_timeout_ns = 3 * GW_NS_PER_S;
	config.exec_quiesce = "(trap '' TERM; exec sleep 77) & echo $! > $GODWIT_STATE_DIR/pid; wait; sleep 77";
	handoff = create_in(GW_HANDOFF_PREPARED, &config);
	start_ns = gw_now_ns(&gw_clock_monotonic);
	cr_expect_eq(gw_handoff_quiesce(handoff, &diag), -ETIME);
	cr_expect_lt(gw_now_ns(&gw_clock_monotonic) - start_ns, 50 * GW_NS_PER_S);
	cr_expect_not_null(strstr(diag.text, "took longer"));
	gw_handoff_destroy(handoff);
	path_in(path, "pid");
	file = fopen(path, "re");
	cr_assert_not_null(file);
	cr_assert_not_null(fgets(text, sizeof(text), file));
	fclose(file);
	for (int ms = 0; ms < 30000 && !is_dead(atoi(text)); ms++)
		usleep(1000);
	cr_expect(is_dead(atoi(text)));
	expect_file("log", "abort\n");
}

Test(handoff, exec_deadline_passes)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_diag diag = { 0 };
	struct gw_handoff *handoff;

	config.deadline_ns = 4 * GW_NS_PER_S;
	handoff = create_in(GW_HANDOFF_QUIESCED, &config);
	/* By the watchdog: it has begun, or is through. */
	wait_for_text("log", "abort\n");
	cr_expect_eq(gw_handoff_begin_commit(handoff, &diag), -ETIME);
	cr_expect_eq(diag.exit_code, GW_EXIT_IO);
	cr_expect_eq(gw_handoff_abort(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\nabort\n");
}

/* What a command leaves in the background lives, and is not waited for. */
Test(handoff, exec_background_is_left)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_handoff *handoff;
	char path[128];
	int fd;

	path_in(path, "go");
	cr_assert_eq(mkfifo(path, 0600), 0);
	config.exec_resume = "(cat $GODWIT_STATE_DIR/go; echo later >> $GODWIT_STATE_DIR/log) &";
	handoff = create_in(GW_HANDOFF_SWITCHED, &config);
	/* Waited for, it would take the time that a command may take, and fail. */
	cr_expect_eq(gw_handoff_resume(handoff, NULL), 0);
	gw_handoff_destroy(handoff);
	expect_file("log", "quiesce\nswitch\n");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	close(fd);
	wait_for_text("log", "later\n");
	expect_file("log", "quiesce\nswitch\nlater\n");
}

Test(handoff, exec_environment)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	const int fd = open("/dev/null", O_RDONLY);	/* without O_CLOEXEC, on purpose */
	char want[512];

	config.exec_quiesce =
		"{ echo $GODWIT_PHASE $GODWIT_BY $GODWIT_MIGRATION $GODWIT_SOURCE $GODWIT_TARGET; "
		"readlink /proc/$$/fd/0; [ /proc/$$/fd/1 -ef /proc/$$/fd/2 ] && echo same; "
		"for i in /proc/$$/fd/*; do n=${i##*/}; [ $n -lt 3 ] || "
		"[ \"$(readlink $i)\" != /dev/null ] || echo leaked $n; done; "
		"trap; } 2>&1 | cat > $GODWIT_STATE_DIR/env";
	snprintf(want, sizeof(want),
		 "quiesce migrate unit /dev/source /dev/target\n/dev/null\nsame\n");
	gw_handoff_destroy(create_in(GW_HANDOFF_QUIESCED, &config));
	close(fd);
	expect_file("env", want);
}

Test(handoff, exec_needs_quiesce)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_diag diag = { 0 };
	struct gw_handoff *handoff;

	config.exec_quiesce = NULL;
	handoff = create(&config);
	cr_expect_eq(gw_handoff_prepare(handoff, &diag), -EINVAL);
	cr_expect_eq(diag.exit_code, GW_EXIT_CANNOT);
	gw_handoff_destroy(handoff);
}

Test(handoff, exec_refuses_what_the_journal_cannot_hold)
{
	struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	static char text[20000];
	struct gw_handoff *handoff;

	memset(text, 'a', sizeof(text) - 1);
	config.exec_switch = text;
	handoff = create(&config);
	cr_expect_eq(gw_handoff_prepare(handoff, NULL), -E2BIG);
	gw_handoff_destroy(handoff);
	/* Each short enough, but as JSON (quotes are escaped) too long together. */
	memset(text, '"', sizeof(text) - 1);
	text[16000] = '\0';
	config.exec_resume = config.exec_abort = text;
	handoff = create(&config);
	cr_expect_eq(gw_handoff_prepare(handoff, NULL), -E2BIG);
	gw_handoff_destroy(handoff);
}

/* ---- Recovery. ---- */

Test(handoff, exec_recovers)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_handoff *const handoff = create_in(GW_HANDOFF_PREPARED, &config);
	char *const json = strdup(gw_handoff_recovery_json(handoff));

	gw_handoff_destroy(handoff);
	cr_expect_eq(gw_handoff_recover(json, false, NULL), 0);
	cr_expect_eq(gw_handoff_recover(json, true, NULL), 0);
	expect_file("log", "abort\nswitch\nresume\n");
	free(json);
}

Test(handoff, recovery_does_not_believe)
{
	static const char *const bad[] = {
		"", "[]", "null", "{", "{}", "{\"handoff\":7}", "{\"handoff\":\"other\"}",
		"{\"handoff\":\"freeze\"}", "{\"handoff\":\"freeze\",\"mounts\":{}}",
		"{\"handoff\":\"exec\",\"abort\":7}", "{\"handoff\":\"exec\",\"abort\":\"\"}",
		"{\"handoff\":\"exec\",\"abort\":\"true\",\"switch\":[]}",
		"{\"handoff\":\"exec\",\"abort\":\"true\\u0000false\"}",
		"{\"handoff\":\"none\"} x", "[[[[[[[[[[[[[[[[", "{\"handoff\":\"none\\u0000\"}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (int committed = 0; committed < 2; committed++) {
			struct gw_diag diag = { 0 };

			cr_expect_eq(gw_handoff_recover(bad[i], committed != 0, &diag), -EBADMSG,
				     "%s", bad[i]);
			cr_expect_eq(diag.exit_code, GW_EXIT_UNCLEAR, "%s", bad[i]);
		}
}

Test(handoff, recovery_bounds_the_text)
{
	const size_t bytes = 100000;
	char *const text = malloc(bytes);

	cr_assert_not_null(text);
	memset(text, ' ', bytes - 1);
	text[bytes - 1] = '\0';
	memcpy(text, "{\"handoff\":\"none\"}", 18);
	cr_expect_eq(gw_handoff_recover(text, false, NULL), -EBADMSG);
	text[40] = '\0';
	cr_expect_eq(gw_handoff_recover(text, false, NULL), 0);
	free(text);
}

/* Entries that are no mounts are refused one by one; none of them is touched. */
Test(handoff, recovery_of_mounts)
{
	static const char *const bad[] = {
		"7", "null", "{}", "{\"dir\":\"/\",\"fs_type\":\"ext4\",\"dev\":\"x\"}",
		"{\"dir\":\"/\",\"fs_type\":\"tmpfs\",\"dev\":\"7:0\"}",
		"{\"dir\":\"/\",\"fs_type\":\"ext4\",\"dev\":\"7:0:0\"}",
	};
	char boot_id[64] = "", text[512];
	FILE *const file = fopen("/proc/sys/kernel/random/boot_id", "re");

	cr_assert_not_null(file);
	cr_assert_not_null(fgets(boot_id, sizeof(boot_id), file));
	fclose(file);
	boot_id[strcspn(boot_id, "\n")] = '\0';
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{\"handoff\":\"freeze\",\"boot_id\":\"%s\","
			 "\"mounts\":[%s]}", boot_id, bad[i]);
		cr_expect_eq(gw_handoff_recover(text, true, NULL), -EBADMSG, "%s", bad[i]);
	}
	/* A device that does not exist: gone, nothing to do. */
	snprintf(text, sizeof(text), "{\"handoff\":\"freeze\",\"boot_id\":\"%s\",\"mounts\":"
		 "[{\"dir\":\"/\",\"fs_type\":\"ext4\",\"dev\":\"250:77777\",\"diskseq\":1}]}", boot_id);
	cr_expect_eq(gw_handoff_recover(text, true, NULL), 0);
}

Test(handoff, freeze_refuses_a_file)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_FREEZE);
	struct gw_handoff *handoff;
	struct gw_diag diag = { 0 };

	source.kind = GW_NODE_FILE;
	handoff = create(&config);
	cr_expect_eq(gw_handoff_prepare(handoff, &diag), -ENOTBLK);
	cr_expect_eq(diag.exit_code, GW_EXIT_CANNOT);
	gw_handoff_destroy(handoff);
	source.kind = GW_NODE_BLOCK;
}

Test(handoff, limits_can_be_changed_until_the_writers_are_stopped)
{
	const struct gw_handoff_config config = config_for(GW_HANDOFF_EXEC);
	struct gw_handoff *handoff;
	struct gw_diag diag = { 0 };

	cr_assert_eq(gw_handoff_create(&handoff, &config), 0);
	cr_assert_eq(gw_handoff_prepare(handoff, &diag), 0, "%s", diag.text);
	cr_assert_eq(gw_handoff_set_limits(handoff, 0, 1234567890, &diag), 0);
	/* Whoever cleans up after us goes by the record. */
	cr_expect_not_null(strstr(gw_handoff_recovery_json(handoff), "\"timeout_ns\":1234567890"),
			   "%s", gw_handoff_recovery_json(handoff));
	gw_handoff_destroy(handoff);
}
