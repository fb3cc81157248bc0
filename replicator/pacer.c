// SPDX-License-Identifier: GPL-2.0-or-later
#include "pacer.h"

#include <assert.h>

#include "clock.h"

/* Time that so many bytes take at the limit, rounded up: never faster than it. */
static uint64_t bytes_ns(uint64_t bytes, uint64_t bytes_per_s)
{
	const unsigned __int128 ns =
		((unsigned __int128)bytes * GW_NS_PER_S + bytes_per_s - 1) / bytes_per_s;

	return ns < UINT64_MAX / 2 ? (uint64_t)ns : UINT64_MAX / 2;
}

static uint64_t ns_bytes(uint64_t ns, uint64_t bytes_per_s)
{
	const unsigned __int128 bytes = (unsigned __int128)ns * bytes_per_s / GW_NS_PER_S;

	return bytes < UINT64_MAX / 2 ? (uint64_t)bytes : UINT64_MAX / 2;
}

void gw_pacer_set(struct gw_pacer *pacer, uint64_t bytes_per_s, uint64_t now_ns)
{
	const uint64_t wait_ns = gw_pacer_wait_ns(pacer, now_ns);
	/* What was booked is still owed, at the new rate. */
	const uint64_t owed_bytes = wait_ns > 0 ? ns_bytes(wait_ns, pacer->bytes_per_s) : 0;

	pacer->bytes_per_s = bytes_per_s;
	pacer->next_ns = now_ns;
	if (bytes_per_s > 0)
		pacer->next_ns += bytes_ns(owed_bytes, bytes_per_s);
}

uint64_t gw_pacer_wait_ns(const struct gw_pacer *pacer, uint64_t now_ns)
{
	if (pacer->bytes_per_s == 0 || pacer->next_ns <= now_ns)
		return 0;
	return pacer->next_ns - now_ns;
}

void gw_pacer_book(struct gw_pacer *pacer, uint64_t bytes, uint64_t now_ns)
{
	const uint64_t credit_ns = pacer->credit_ns != 0 ? pacer->credit_ns : GW_PACER_CREDIT_NS;
	const uint64_t saved_ns = now_ns < credit_ns ? now_ns : credit_ns;

	if (pacer->bytes_per_s == 0)
		return;
	assert(pacer->next_ns <= now_ns);
	if (pacer->next_ns < now_ns - saved_ns)
		pacer->next_ns = now_ns - saved_ns;
	pacer->next_ns += bytes_ns(bytes, pacer->bytes_per_s);
}

uint32_t gw_pacer_run_bytes(const struct gw_pacer *pacer, uint32_t min_bytes, uint32_t max_bytes)
{
	uint64_t bytes;

	assert(min_bytes > 0);
	assert(min_bytes <= max_bytes);
	if (pacer->bytes_per_s == 0)
		return max_bytes;
	bytes = ns_bytes(pacer->run_ns != 0 ? pacer->run_ns : GW_PACER_RUN_NS, pacer->bytes_per_s);
	if (bytes < pacer->run_bytes_min)
		bytes = pacer->run_bytes_min;
	if (bytes >= max_bytes)
		return max_bytes;
	bytes -= bytes % min_bytes;
	return bytes < min_bytes ? min_bytes : (uint32_t)bytes;
}
