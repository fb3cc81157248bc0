// SPDX-License-Identifier: GPL-2.0-or-later
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t came;

static void on_signal(int number)
{
	static const char text[] = "\ngodwit: cancelling, please wait\n";
	const int saved_errno = errno;

	(void)number;
	if (came && write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
		/* Nobody reads: the cancellation goes on all the same. */
	}
	came = 1;
	errno = saved_errno;
}

static void on_pipe(int number)
{
	(void)number;
}

void gw_interrupt_catch(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
}

bool gw_interrupt_came(void)
{
	return came != 0;
}

void gw_interrupt_survive_pipes(void)
{
	/* A handler, not SIG_IGN: exec resets it, so the user's commands get what they expect. */
	struct sigaction action = { .sa_handler = on_pipe, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	sigaction(SIGPIPE, &action, NULL);
}
