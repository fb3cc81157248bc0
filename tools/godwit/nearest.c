// SPDX-License-Identifier: GPL-2.0-or-later
#include "nearest.h"

#include <string.h>

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t gw_nearest_distance(const char *one, const char *other)
{
	const size_t rows = strlen(one), columns = strlen(other);
	/* Rows i, i - 1 and i - 2 of the table, in turn. */
	uint32_t table[3][GW_NEAREST_BYTES_MAX + 1];

	if (rows > GW_NEAREST_BYTES_MAX || columns > GW_NEAREST_BYTES_MAX)
		return UINT32_MAX;
	for (size_t j = 0; j <= columns; j++)
		table[0][j] = (uint32_t)j;
	for (size_t i = 1; i <= rows; i++) {
		uint32_t *row = table[i % 3];
		const uint32_t *above = table[(i - 1) % 3], *second = table[(i + 1) % 3];

		row[0] = (uint32_t)i;
		for (size_t j = 1; j <= columns; j++) {
			const bool same = one[i - 1] == other[j - 1];

			row[j] = least(above[j - 1] + !same, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && one[i - 1] == other[j - 2] &&
			    one[i - 2] == other[j - 1])
				row[j] = least(row[j], second[j - 2] + 1);
		}
	}
	return table[rows % 3][columns];
}

bool gw_nearest_is_near(const char *word, const char *candidate)
{
	const size_t length = strlen(word);

	if (length > 1 && strncmp(word, candidate, length) == 0)
		return true;
	return gw_nearest_distance(word, candidate) <= (strlen(candidate) + 1) / 3;
}
