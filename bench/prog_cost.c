// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What BPF programs cost while COMMAND runs, from the kernel's own statistics,
 * beside an empty program on the same tracepoint: that one's run time is what the clock costs.
 *
 * prog_cost [-l NAME:TRACEPOINT:PIN]... COMMAND [ARGUMENT...]
 *
 * PIN: of a link to the program. A line for each: name, tracepoint, runs, ns, runs and
 * ns of the empty one, misses; tab-separated. COMMAND's output goes to standard error.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAMS_MAX 8

struct program {
	const char *name, *tracepoint, *pin;
	int fd, empty_fd, empty_link_fd;
	struct bpf_prog_info before, empty_before;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "prog_cost: %s: %s\n", what, strerror(-err));
	return err;
}

/* Return: 0 or negative errno. */
static int read_info(int fd, struct bpf_prog_info *info)
{
	__u32 bytes = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &bytes) < 0 ? -errno : 0;
}

/* The program behind a pinned link. Return: fd or negative errno. */
static int open_program(const char *pin)
{
	struct bpf_link_info info = { 0 };
	__u32 bytes = sizeof(info);
	const int link_fd = bpf_obj_get(pin);
	int err;

	if (link_fd < 0)
		return -errno;
	err = bpf_obj_get_info_by_fd(link_fd, &info, &bytes) < 0 ? -errno : 0;
	close(link_fd);
	if (err == 0)
		err = bpf_prog_get_fd_by_id(info.prog_id);
	return err;
}

/* { return 0; }, attached as godwit's programs are. */
static int attach_empty(struct program *program)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_RAW_TP);
	const int btf_id = libbpf_find_vmlinux_btf_id(program->tracepoint, BPF_TRACE_RAW_TP);

	if (btf_id < 0)
		return btf_id;
	opts.attach_btf_id = (__u32)btf_id;
	program->empty_fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "gw_bench_empty", "GPL", insns,
					  sizeof(insns) / sizeof(insns[0]), &opts);
	if (program->empty_fd < 0)
		return program->empty_fd;
	program->empty_link_fd = bpf_raw_tracepoint_open(NULL, program->empty_fd);
	return program->empty_link_fd < 0 ? program->empty_link_fd : 0;
}

static int parse(struct program *program, char *text)
{
	program->name = strtok(text, ":");
	program->tracepoint = strtok(NULL, ":");
	program->pin = strtok(NULL, "");
	return program->pin != NULL ? 0 : -EINVAL;
}

static int begin(struct program *program, char *text)
{
	int err = parse(program, text);

	if (err < 0)
		return fail("NAME:TRACEPOINT:PIN", err);
	program->fd = open_program(program->pin);
	if (program->fd < 0)
		return fail(program->pin, program->fd);
	err = attach_empty(program);
	return err < 0 ? fail(program->tracepoint, err) : 0;
}

static int show(const struct program *program)
{
	struct bpf_prog_info now, empty;

	if (read_info(program->fd, &now) < 0 || read_info(program->empty_fd, &empty) < 0)
		return fail(program->name, -errno);
	printf("%s\t%s\t%llu\t%llu\t%llu\t%llu\t%llu\n", program->name, program->tracepoint,
	       now.run_cnt - program->before.run_cnt,
	       now.run_time_ns - program->before.run_time_ns,
	       empty.run_cnt - program->empty_before.run_cnt,
	       empty.run_time_ns - program->empty_before.run_time_ns,
	       now.recursion_misses - program->before.recursion_misses);
	return 0;
}

static int run(char **argv)
{
	const pid_t pid = fork();
	int status;

	if (pid == 0) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return fail("fork", -errno);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

static int measure(struct program *programs, int count, char **argv)
{
	/* Until it is closed: on for this run only. */
	const int stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	int err;

	if (stats_fd < 0)
		return fail("kernel statistics", stats_fd);
	for (int i = 0; i < count; i++)
		if (read_info(programs[i].fd, &programs[i].before) < 0 ||
		    read_info(programs[i].empty_fd, &programs[i].empty_before) < 0)
			return fail(programs[i].name, -errno);
	err = run(argv);
	if (err < 0)
		return fail(argv[0], err);
	close(stats_fd);
	for (int i = 0; i < count; i++)
		if (show(&programs[i]) < 0)
			return -EIO;
	return 0;
}

int main(int argc, char **argv)
{
	struct program programs[PROGRAMS_MAX] = { 0 };
	int c, count = 0;

	while ((c = getopt(argc, argv, "+l:")) != -1) {
		if (c != 'l' || count == PROGRAMS_MAX)
			return 2;
		if (begin(&programs[count++], optarg) < 0)
			return EXIT_FAILURE;
	}
	if (optind == argc) {
		fprintf(stderr, "usage: prog_cost [-l NAME:TRACEPOINT:PIN]... COMMAND [ARGUMENT...]\n");
		return 2;
	}
	return measure(programs, count, &argv[optind]) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
