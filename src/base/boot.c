// SPDX-License-Identifier: GPL-2.0-or-later
#include "boot.h"

#include <stdio.h>
#include <string.h>

void gw_boot_id(char id[GW_BOOT_ID_BYTES])
{
	FILE *const file = fopen("/proc/sys/kernel/random/boot_id", "re");

	id[0] = '\0';
	if (file == NULL)
		return;
	if (fgets(id, GW_BOOT_ID_BYTES, file) == NULL)
		id[0] = '\0';
	id[strcspn(id, "\n")] = '\0';
	fclose(file);
}
