// SPDX-License-Identifier: GPL-2.0-or-later
/* What a software SSD tells of itself: status, the trace of commands, the record of changes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ssd_control.h"
#include "ssd_rig.h"

static struct gw_rig rig;
static struct gw_ssd_set set = { .subsys = { &rig.ss }, .subsystems = 1 };

static void setup(void)
{
	gw_rig_open(&rig, 2, NULL);
	for (int i = 0; i < 2; i++)
		gw_client_start(&rig.client[i], 1);
}

static void teardown(void)
{
	gw_rig_close(&rig);
}

TestSuite(ssd_observe, .init = setup, .fini = teardown, .timeout = 180);

#define A (&rig.client[0])
#define B (&rig.client[1])
#define BUFFER GW_CLIENT_BUFFER

/* The answer; the next call ends it. */
static const char *control(const char *line)
{
	static char *answer;
	bool is_refused;

	free(answer);
	answer = gw_ssd_control_answer(&set, line, &is_refused);
	cr_assert_not_null(answer);
	cr_assert_eq(is_refused, strstr(answer, "\"error\":") != NULL);
	return answer;
}

static uint32_t lines(const char *text)
{
	uint32_t count = 0;

	for (; *text != '\0'; text++)
		count += *text == '\n';
	return count;
}

static void write_blocks(struct gw_client *client, uint64_t slba, uint32_t blocks)
{
	cr_assert_eq(gw_client_io(client, GW_NVME_WRITE, 1, slba, blocks, BUFFER, blocks * UINT64_C(512)), 0);
}

Test(ssd_observe, a_command_is_told_in_the_words_of_the_specification)
{
	const char *text;

	write_blocks(A, 64, 8);
	cr_assert_eq(gw_client_io(A, GW_NVME_READ, 1, 1u << 30, 1, BUFFER, 512), NVME_SC_LBA_OUT_OF_RANGE);
	write_blocks(B, 72, 1);
	text = control("trace command=write");
	cr_assert_eq(lines(text), 2);
	cr_assert_not_null(strstr(text, " 1/1 SQ 1 CID "));
	cr_assert_not_null(strstr(text, ": Write NSID 1 SLBA 64 blocks 8: Successful Completion, DW0 0h, "));
	cr_assert_not_null(strstr(text, "SLBA 72 blocks 1"));
	cr_assert_eq(lines(control("trace status=error")), 1);
	cr_assert_not_null(strstr(control("trace status=lba-out-of-range"), "LBA Out of Range"));
	cr_assert_eq(lines(control("trace status=280")), 0);
	/* Filters go together. */
	cr_assert_eq(lines(control("trace queue=io")), 3);
	cr_assert_eq(lines(control("trace queue=io controller=1/2")), 1);
	cr_assert_eq(lines(control("trace lba=70-72")), 2);
	cr_assert_eq(lines(control("trace lba=72")), 1);
	cr_assert_eq(lines(control("trace queue=io last=2")), 2);
	cr_assert_not_null(strstr(control("trace queue=admin controller=1/2 last=1"),
				  "Create I/O Submission Queue QID 1h QSIZE Fh"));
	cr_assert_not_null(strstr(control("trace colour=red"), "there is no filter 'colour='"));
	cr_assert_not_null(strstr(control("trace command=wirte"), "command= is the name"));
	cr_assert_not_null(strstr(control("trace lba=9-3"), "lba= is"));
	cr_assert_not_null(strstr(control("trace controller=2/1"), "there is no controller 2/1"));
}

Test(ssd_observe, a_trace_is_json_for_programs)
{
	struct json_object *o, *value;

	write_blocks(B, 7, 3);
	o = json_tokener_parse(control("trace json command=write"));
	cr_assert_not_null(o);
	cr_assert(json_object_object_get_ex(o, "controller", &value));
	cr_assert_str_eq(json_object_get_string(value), "1/2");
	cr_assert(json_object_object_get_ex(o, "slba", &value));
	cr_assert_eq(json_object_get_int(value), 7);
	cr_assert(json_object_object_get_ex(o, "blocks", &value));
	cr_assert_eq(json_object_get_int(value), 3);
	cr_assert(json_object_object_get_ex(o, "status_text", &value));
	cr_assert_str_eq(json_object_get_string(value), "Successful Completion");
	json_object_put(o);
}

Test(ssd_observe, status_has_queues_and_latencies)
{
	for (int i = 0; i < 5; i++)
		write_blocks(A, 0, 1);
	cr_assert_not_null(strstr(control("status"), "{\"command\":\"Write\",\"count\":5,\"errors\":0,"));
	cr_assert_not_null(strstr(control("status"), "{\"qid\":1,\"sq_entries\":16,\"sq_head\":5,"
						     "\"sq_tail\":5,\"cqid\":1,\"cq_entries\":16,"));
}

/* Each change once, in order, with the controller that made it; what failed before it began is none. */
Test(ssd_observe, the_record_of_changes_is_exact)
{
	static const char *const expected[] = {
		"\"sequence\":1,\"cntlid\":1,\"nsid\":1,\"slba\":10,\"blocks\":4,\"kind\":\"written\"",
		"\"sequence\":2,\"cntlid\":2,\"nsid\":1,\"slba\":11,\"blocks\":1,\"kind\":\"zeroed\"",
		"\"sequence\":3,\"cntlid\":1,\"nsid\":1,\"slba\":12,\"blocks\":2,\"kind\":\"uncorrectable\"",
		"\"sequence\":4,\"cntlid\":1,\"nsid\":1,\"slba\":40,\"blocks\":8,\"kind\":\"deallocated\"",
		"\"sequence\":5,\"cntlid\":2,\"nsid\":1,\"slba\":100,\"blocks\":1,\"kind\":\"written\"",
		"\"sequence\":6,\"cntlid\":2,\"nsid\":1,\"slba\":100,\"blocks\":1,\"kind\":\"lost\"",
		"\"sequence\":7,\"cntlid\":1,\"nsid\":1,\"slba\":0,\"blocks\":32768,\"kind\":\"formatted\"",
	};
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_DATASET_MANAGEMENT, .nsid = 1, .cdw11 = 4 };
	const struct gw_nvme_dsm_range range = { .count = 8, .first = 40 };
	const char *text;

	write_blocks(A, 10, 4);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE, 1, 1u << 30, 1, BUFFER, 512), NVME_SC_LBA_OUT_OF_RANGE);
	cr_assert_eq(gw_client_io(B, GW_NVME_WRITE_ZEROES, 1, 11, 1, 0, 0), 0);
	cr_assert_eq(gw_client_io(A, GW_NVME_WRITE_UNCORRECTABLE, 1, 12, 2, 0, 0), 0);
	memcpy(gw_client_at(A, BUFFER), &range, sizeof(range));
	cr_assert_eq(gw_client_execute(A, 1, &sqe, BUFFER, sizeof(range), NULL), 0);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_FLUSH, .nsid = 1 };
	cr_assert_eq(gw_client_execute(A, 1, &sqe, 0, 0, NULL), 0);
	write_blocks(B, 100, 1);
	control("power-cut");
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_FORMAT, .nsid = 1 };
	cr_assert_eq(gw_client_execute(A, 0, &sqe, 0, 0, NULL), 0);

	text = control("changes 1");
	cr_assert_eq(lines(text), 8);
	cr_assert_eq(strncmp(text, "{\"schema_version\":1,\"first_kept\":1,\"latest\":7}\n", 47), 0);
	for (size_t i = 0; i < 7; i++) {
		char line[256];
		unsigned long long time;
		char *at;

		text = strchr(text, '\n') + 1;
		snprintf(line, sizeof(line), "%.*s", (int)(strchr(text, '\n') - text), text);
		at = strstr(line, "\"time_ns\":");
		cr_assert_eq(sscanf(at, "\"time_ns\":%llu", &time), 1);
		cr_assert_gt(time, 0);
		memmove(at, strchr(at, ',') + 1, strlen(strchr(at, ',')));
		cr_assert_not_null(strstr(line, expected[i]), "%s", line);
		cr_assert_not_null(strstr(line, "\"failed\":false}"));
	}
	cr_assert_eq(lines(control("changes 1 since=5")), 3);
	cr_assert_eq(lines(control("changes 1 lba=11-12")), 5);
	cr_assert_eq(lines(control("changes 1 last=1")), 2);
	cr_assert_eq(lines(control("changes 1 nsid=2")), 1);
	cr_assert_not_null(strstr(control("changes 2"), "there is no subsystem 2"));
}

/* ---- The socket -------------------------------------------------------------------------------------- */

static struct gw_ssd_control socket_control;

static int connect_control(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	strcpy(address.sun_path, socket_control.socket.path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void open_control(char path[96])
{
	struct gw_diag diag = { 0 };

	snprintf(path, 96, "%s/control", rig.dir);
	cr_assert_eq(gw_ssd_control_open(&socket_control, path, &set, &diag), 0, "%s", diag.text);
}

/* The first bytes of the answer, within half a minute. */
static void expect_answer(int fd, const char *text)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	char answer[4096];
	ssize_t got;

	cr_assert_eq(poll(&pollfd, 1, 30000), 1, "no answer");
	got = recv(fd, answer, sizeof(answer) - 1, 0);
	cr_assert_gt(got, 0);
	answer[got] = '\0';
	cr_assert_not_null(strstr(answer, text), "%s", answer);
}

/* A byte at a time, each within the time that a silent client has. */
static void *drip(void *arg)
{
	const struct timespec nap = { .tv_nsec = 200000000 };
	const int fd = *(int *)arg;

	while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
		nanosleep(&nap, NULL);
	return NULL;
}

Test(ssd_observe, a_client_that_is_slow_to_ask_gives_way)
{
	char path[96];
	pthread_t thread;
	int slow, fd;

	open_control(path);
	slow = connect_control();
	cr_assert_eq(pthread_create(&thread, NULL, drip, &slow), 0);
	fd = connect_control();
	cr_assert_eq(send(fd, "status\n", 7, MSG_NOSIGNAL), 7);
	expect_answer(fd, "{\"schema_version\":1,\"subsystems\":");
	pthread_join(thread, NULL);
	close(slow);
	close(fd);
	gw_ssd_control_close(&socket_control);
}

Test(ssd_observe, a_line_that_is_too_long_is_told_so)
{
	char path[96], line[GW_SSD_LINE_BYTES_MAX];
	int fd;

	open_control(path);
	fd = connect_control();
	memset(line, 'x', sizeof(line));
	cr_assert_eq(send(fd, line, sizeof(line), MSG_NOSIGNAL), (ssize_t)sizeof(line));
	expect_answer(fd, "at most 1022 bytes");
	close(fd);
	gw_ssd_control_close(&socket_control);
}

/* Lines in the pipe, all whole and in order. Return: how many. */
static uint32_t drain(int fd, uint64_t *sequence)
{
	static char text[1 << 20];
	size_t used = 0;
	uint32_t count = 0;
	ssize_t got;

	while ((got = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
		const uint64_t here = strtoull(at, NULL, 10);

		*end = '\0';
		cr_assert_gt(here, *sequence);
		cr_assert_not_null(strstr(at, ": Successful Completion, DW0 0h, "));
		*sequence = here;
		count++;
	}
	cr_assert(used == 0 || text[used - 1] == '\0', "the last one is whole, too");
	return count;
}

/* A trace that nobody takes holds up no command; what was not taken is counted. */
Test(ssd_observe, a_trace_into_a_full_pipe_loses_lines_and_holds_up_nothing)
{
	const uint64_t before = gw_trace_dropped();
	uint64_t sequence = 0;
	uint32_t taken;
	int pipe_fd[2];

	cr_assert_eq(pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK), 0);
	cr_assert_gt(fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096), 0);
	cr_assert_eq(fcntl(pipe_fd[1], F_SETFL, 0), 0);
	cr_assert_eq(gw_trace_to(pipe_fd[1], false), 0);
	for (uint32_t i = 0; i < 400; i++)
		write_blocks(A, i, 1);
	cr_assert_gt(gw_trace_dropped(), before);
	cr_assert_not_null(strstr(control("status"), "\"trace_dropped\":"));
	taken = drain(pipe_fd[0], &sequence);
	cr_assert_gt(taken, 0);
	write_blocks(A, 0, 1);		/* after the one that waited for room */
	cr_assert_gt(drain(pipe_fd[0], &sequence), 0, "it goes on");
	gw_trace_to(-1, false);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* ---- Sockets ------------------------------------------------------------------------------------------ */

static void limit_descriptors(rlim_t most)
{
	struct rlimit limit;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Takes all descriptors that there are. Return: the last one. */
static int use_up_descriptors(void)
{
	int last = -1, fd;

	limit_descriptors(256);
	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		last = fd;
	cr_assert_eq(errno, EMFILE);
	cr_assert_geq(last, 0);
	return last;
}

static void *accept_one(void *arg)
{
	return (void *)(intptr_t)gw_ssd_socket_accept(arg);
}

/* A client that comes when there is no descriptor for it is let in as soon as there is one. */
Test(ssd_observe, a_socket_outlives_a_shortage_of_descriptors)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timespec nap = { .tv_nsec = 200000000 };
	struct gw_ssd_socket listening;
	pthread_t thread;
	char path[96];
	void *got;
	int last;

	snprintf(path, sizeof(path), "%s/listening", rig.dir);
	strcpy(address.sun_path, path);
	cr_assert_eq(gw_ssd_socket_open(&listening, path, NULL), 0);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	last = use_up_descriptors();
	cr_assert_eq(pthread_create(&thread, NULL, accept_one, &listening), 0);
	nanosleep(&nap, NULL);
	close(last);
	pthread_join(thread, &got);
	cr_assert_geq((intptr_t)got, 0);
	cr_assert_eq(pthread_create(&thread, NULL, accept_one, &listening), 0);
	shutdown(listening.fd, SHUT_RDWR);
	pthread_join(thread, &got);
	cr_assert_eq((intptr_t)got, -1, "it can be ended in the midst of one");
	limit_descriptors(1024);
	gw_ssd_socket_close(&listening);
}

/* Somebody else's file under the same name is not ours to remove. */
Test(ssd_observe, a_socket_that_was_replaced_is_left)
{
	char path[96], other[128];
	struct stat st;
	FILE *file;

	open_control(path);
	gw_ssd_control_close(&socket_control);
	cr_assert_lt(stat(path, &st), 0);
	open_control(path);
	snprintf(other, sizeof(other), "%s.other", path);
	file = fopen(other, "we");
	cr_assert_not_null(file);
	fclose(file);
	cr_assert_eq(rename(other, path), 0);
	gw_ssd_control_close(&socket_control);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert(S_ISREG(st.st_mode));
}
