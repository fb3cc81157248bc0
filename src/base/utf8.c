// SPDX-License-Identifier: GPL-2.0-or-later
#include "utf8.h"

size_t gw_utf8_take(const char *text, uint32_t *code)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *const bytes = (const unsigned char *)text;
	const unsigned char first = bytes[0];
	const size_t count = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	uint32_t value = first;

	*code = GW_UTF8_BAD;
	if (first >= 0xf8 || (first >= 0x80 && first < 0xc0))
		return 1;
	if (count > 1)
		value = first & (0x7fU >> count);
	for (size_t i = 1; i < count; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 1;	/* a terminating zero, too */
		value = value << 6 | (bytes[i] & 0x3f);
	}
	if (value < smallest[count] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
		return 1;
	*code = value;
	return count;
}
