// SPDX-License-Identifier: GPL-2.0-or-later
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "track_load.h"

/* As libbpf says it: one format, one text. */
static void libbpf_says(libbpf_print_fn_t print, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print(LIBBPF_WARN, format, args);
	va_end(args);
}

Test(track_load, a_refused_program_is_named_with_the_verifiers_reason)
{
	struct gw_diag diag = { 0 };
	libbpf_print_fn_t print;

	gw_load_listen(&diag);
	print = libbpf_set_print(NULL);
	libbpf_says(print, "libbpf: prog '%s': BPF program load failed: %s\n", "gw_rq_issue", "Invalid argument");
	libbpf_says(print, "libbpf: prog '%s': -- BEGIN PROG LOAD LOG --\n%s-- END PROG LOAD LOG --\n", "gw_rq_issue",
		    "0: R1=ctx() R10=fp0\n1: (95) exit\nR0 !read_ok\nprocessed 2 insns (limit 1000000)\n");
	libbpf_says(print, "libbpf: failed to load object 'gw_block'\n");
	cr_assert_eq(gw_load_fail(&diag, -EINVAL, "load the BPF programs"), -EINVAL);
	cr_assert_eq(diag.exit_code, GW_EXIT_CANNOT);
	cr_assert_str_eq(diag.text, "cannot load the BPF programs: Invalid argument (prog 'gw_rq_issue': "
				    "BPF program load failed: Invalid argument; the verifier: R0 !read_ok)");
}

Test(track_load, without_a_log_the_first_complaint_is_said)
{
	struct gw_diag diag = { 0 };
	libbpf_print_fn_t print;

	gw_load_listen(&diag);
	print = libbpf_set_print(NULL);
	libbpf_says(print, "libbpf: kernel doesn't support %s\n", "ring buffers");
	libbpf_says(print, "libbpf: failed to load object 'gw_block'\n");
	gw_load_fail(&diag, -EOPNOTSUPP, "load the BPF programs");
	cr_assert_str_eq(diag.text, "cannot load the BPF programs: Operation not supported "
				    "(kernel doesn't support ring buffers)");
}
