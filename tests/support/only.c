// SPDX-License-Identifier: GPL-2.0-or-later
#include "only.h"

#include <assert.h>
#include <regex.h>
#include <stdlib.h>

bool gw_test_is_wanted(const char *name)
{
	const char *const pattern = getenv("GW_ONLY");
	regex_t regex;
	bool wanted;
	int err;

	if (pattern == NULL)
		return true;
	err = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
	assert(err == 0);
	wanted = regexec(&regex, name, 0, NULL, 0) == 0;
	regfree(&regex);
	return wanted;
}
