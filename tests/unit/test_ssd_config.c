// SPDX-License-Identifier: GPL-2.0-or-later
/* What a software SSD is told to be, and what a host then finds, through the vfio-user socket. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ssd_rig.h"
#include "vfio_user.h"

TestSuite(ssd_config, .timeout = 180);

/* ---- Files ------------------------------------------------------------------------------------------- */

static char path[64];

static int read_text(struct gw_ssd_config *config, const char *text, struct gw_diag *diag)
{
	const size_t bytes = strlen(text);
	int fd, err;

	strcpy(path, "/tmp/godwit-ssd-config-XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, bytes), (ssize_t)bytes);
	close(fd);
	gw_ssd_config_init(config);
	err = gw_ssd_config_read(config, path, diag);
	unlink(path);
	return err;
}

static const char whole[] =
	"# a drive\n"
	"preset = tiny\n"
	"serial = S-1\n"
	"model =  Big drive 9000  \n"
	"firmware=FW7\n"
	"nqn = nqn.2026-11.test:drive\n"
	"pci-vendor = 1b36\n"
	"pci-device = 0x10\n"
	"oui = 525400\n"
	"size = 1MiB\n"
	"cache = 0\n"
	"verify = off\n"
	"sanitize = off\n"
	"mcdqpc = 7\n"
	"\n"
	"[namespace 1]\n"
	"size = 2MiB\n"
	"nguid = 00112233445566778899aabbccddeeff\n"
	"eui64 = 0102030405060708\n"
	"uuid = 9d0a31c2-5b7e-4c41-9a53-6f6a77d1c8e4\n"
	"[namespace 2]\n"
	"block = 4096\n"
	"[controller 1]\n"
	"id = 16\n"
	"[controller 3]\n"
	"id = 300\n";

Test(ssd_config, identity)
{
	static const uint8_t descriptors[] = {
		1, 8,  0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
		2, 16, 0, 0, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
		0xdd, 0xee, 0xff,
		3, 16, 0, 0, 0x9d, 0x0a, 0x31, 0xc2, 0x5b, 0x7e, 0x4c, 0x41, 0x9a, 0x53, 0x6f, 0x6a, 0x77,
		0xd1, 0xc8, 0xe4,
		4, 1,  0, 0, 0, 0,
	};
	static const uint16_t ids[] = { 3, 16, 17, 300 };
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	struct nvme_id_ctrl id;
	struct nvme_id_ns ns;
	struct gw_rig rig;
	uint8_t bytes[NVME_IDENTIFY_BYTES];
	uint32_t pci;

	cr_assert_eq(read_text(&config, whole, &diag), 0, "%s", diag.text);
	gw_rig_open(&rig, 3, &config);
	for (int i = 0; i < 3; i++)
		gw_client_start(&rig.client[i], 1);
	for (int round = 0; round < 2; round++) {
		struct gw_client *client = &rig.client[2];

		cr_assert_eq(gw_client_identify(client, 0x01, 0, &id), 0);
		cr_assert_eq(memcmp(id.sn, "S-1                 ", 20), 0);
		cr_assert_eq(memcmp(id.mn, "Big drive 9000                          ", 40), 0);
		cr_assert_eq(memcmp(id.fr, "FW7     ", 8), 0);
		cr_assert_str_eq(id.subnqn, "nqn.2026-11.test:drive");
		cr_assert_eq(id.vid, 0x1b36);
		cr_assert_eq(id.ieee[0] | id.ieee[1] << 8 | id.ieee[2] << 16, 0x525400);
		cr_assert_eq(id.cntlid, 300);
		cr_assert_eq(gw_client_read(client, 7, 0, &pci, 4), 0);
		cr_assert_eq(pci, 0x00101b36u);
		cr_assert_eq(gw_client_identify(client, 0x13, 0, bytes), 0);
		cr_assert_eq(memcmp(bytes, ids, sizeof(ids)), 0, "all controllers, ascending");
		cr_assert_eq(gw_client_identify(client, 0x00, 1, &ns), 0);
		cr_assert_eq(ns.nsze, 4096);
		cr_assert_eq(ns.flbas, 0);
		cr_assert_eq(memcmp(ns.eui64, descriptors + 4, 8), 0);
		cr_assert_eq(gw_client_identify(client, 0x03, 1, bytes), 0);
		cr_assert_eq(memcmp(bytes, descriptors, sizeof(descriptors)), 0);
		cr_assert_eq(gw_client_identify(client, 0x00, 2, &ns), 0);
		cr_assert_eq(ns.nsze, 256);
		cr_assert_eq(ns.flbas, 1);
		if (round == 0) {
			/* What is stored says the same as the file, which is not there any more. */
			memset(rig.config.ns, 0, sizeof(rig.config.ns));
			gw_rig_restart(&rig);
			for (int i = 0; i < 3; i++)
				gw_client_start(&rig.client[i], 1);
		}
	}
	gw_rig_close(&rig);
}

/* Each line is wrong in its own way, and the message says which line, what, and what instead. */
Test(ssd_config, errors)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "seriel = 1\n", ":1: there is no key 'seriel': is it serial?" },
		{ "\n\nfoo-bar = 1\n", ":3: there is no key 'foo-bar': godwit-ssd(8) has them" },
		{ "serial\n", ":1: 'serial' is neither KEY = VALUE, nor a [section], nor a # comment" },
		{ "serial = 123456789012345678901\n", ":1: serial= has 1 to 20 characters, and not 21" },
		{ "serial =\n", ":1: serial= has 1 to 20 characters, and not 0" },
		{ "io-queues = 33\n", ":1: io-queues= is a number from 1 to 32, and not '33'" },
		{ "io-queues = 2x\n", ":1: io-queues= is a number from 1 to 32, and not '2x'" },
		{ "io-queues = -1\n", ":1: io-queues= is a number from 1 to 32, and not '-1'" },
		{ "pci-vendor = ffff\n",
		  ":1: pci-vendor= is a hexadecimal number from 1 to fffe, and not 'ffff'" },
		{ "transfer = 24KiB\n", ":1: transfer= is a power of two, of whole pages, and not '24KiB'" },
		{ "cmb = 2KiB\n", ":1: cmb= is a power of two, of whole pages, and not '2KiB'" },
		{ "transfer = 4KiB\n", ":1: transfer= is 8.0 KiB to 1.0 MiB" },
		{ "size = lots\n", ":1: size= is a size, such as 64MiB, and not 'lots'" },
		{ "merge = yes\n", ":1: merge= is on or off, and not 'yes'" },
		{ "block = 520\n", ":1: block= is 512 or 4096, and not '520'" },
		{ "version = 1.2\n", ":1: version= is 1.3, 1.4, 2.0 or 2.1, and not '1.2'" },
		{ "preset = big\n", ":1: preset= is plain, hmlm, old or tiny, and not 'big'" },
		{ "serial = 1\npreset = hmlm\n",
		  ":2: preset= comes after another key, and would undo it: write it first" },
		{ "[namespace 33]\n", ":1: a section is [subsystem], [controller 1] to [controller 16] or "
				      "[namespace 1] to [namespace 32], and not [namespace 33]" },
		{ "preset = tiny\n[namespace 3]\n",
		  ":2: a section is [subsystem], [controller 1] to [controller 16] or [namespace 1] to "
		  "[namespace 2], and not [namespace 3]" },
		{ "[namespace 1]\nserial = 1\n", ":2: there is no key 'serial': godwit-ssd(8) has them" },
		{ "[namespace 1]\nuuid = 12\n", ":2: uuid= has 32 hexadecimal digits" },
		{ "[namespace 1]\neui64 = 0102030405060708 09\n", ":2: eui64= has 16 hexadecimal digits" },
		{ "[controller 1]\nid = 0\n", ":2: id= is a number from 1 to 65504, and not '0'" },
		{ "[controller 1]\nid = 5\n[controller 2]\nid = 5\n",
		  ":4: identifiers go up: that of controller 2 is to be above 5" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gw_ssd_config config;
		struct gw_diag diag = { 0 };

		cr_assert_lt(read_text(&config, cases[i].text, &diag), 0, "%s", cases[i].text);
		cr_assert_eq(strncmp(diag.text, path, strlen(path)), 0, "%s", diag.text);
		cr_assert_str_eq(diag.text + strlen(path), cases[i].expected);
		cr_assert_eq(diag.exit_code, GW_EXIT_USAGE);
	}
}

/* ---- Presets ------------------------------------------------------------------------------------------- */

static void open_preset(struct gw_rig *rig, const char *preset, uint32_t controllers)
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };

	gw_ssd_config_init(&config);
	cr_assert_eq(gw_ssd_config_set(&config, "preset", preset, &diag), 0, "%s", diag.text);
	config.namespace_bytes = UINT64_C(4) << 20;
	gw_rig_open(rig, controllers, &config);
	for (uint32_t i = 0; i < controllers; i++)
		gw_client_start(&rig->client[i], 1);
}

static uint16_t admin(struct gw_client *client, uint8_t opcode, uint32_t cdw10, uint32_t cdw11,
		      uint64_t bytes)
{
	struct gw_nvme_sqe sqe = { .opcode = opcode, .cdw10 = cdw10, .cdw11 = cdw11 };

	return gw_client_execute(client, 0, &sqe, GW_CLIENT_BUFFER, bytes, NULL);
}

/* NVMe 1.3: what came later is not announced, and is unknown when it is asked for. */
Test(ssd_config, old)
{
	struct gw_client *client;
	struct nvme_id_ctrl id;
	struct gw_rig rig;
	uint8_t bytes[NVME_IDENTIFY_BYTES];

	open_preset(&rig, "old", 1);
	client = &rig.client[0];
	cr_assert_eq(gw_client_register(client, NVME_REG_VS), 0x00010300);
	cr_assert_eq(gw_client_identify(client, 0x01, 0, &id), 0);
	cr_assert_eq(id.ver, 0x00010300);
	cr_assert_eq(id.cntrltype, 0);
	cr_assert_eq(id.oncs, 0x5f, "neither Verify nor Copy");
	cr_assert_eq(id.oacs, 0x00a);
	cr_assert_eq(gw_client_identify(client, 0x05, 1, bytes), NVME_SC_INVALID_FIELD);
	cr_assert_eq(gw_client_identify(client, 0x08, 1, bytes), NVME_SC_INVALID_FIELD);
	cr_assert_eq(gw_client_identify(client, 0x1c, 0, bytes), NVME_SC_INVALID_FIELD);
	cr_assert_eq(gw_client_identify(client, 0x03, 1, bytes), 0);
	cr_assert_eq(bytes[0], 2);
	cr_assert_eq(bytes[21], 0, "no command set behind the NGUID");
	cr_assert_eq(admin(client, 0x02, 0xff0000, 0, 1024), NVME_SC_INVALID_LOG_PAGE);
	cr_assert_eq(admin(client, 0x86, 0, 0, 0), NVME_SC_INVALID_OPCODE, "Get LBA Status");
	cr_assert_eq(gw_client_io(client, GW_NVME_VERIFY, 1, 0, 1, 0, 0), NVME_SC_INVALID_OPCODE);
	cr_assert_eq(gw_client_io(client, GW_NVME_WRITE, 1, 0, 8, GW_CLIENT_BUFFER, 4096), 0);
	/* The log of effects agrees. */
	cr_assert_eq(admin(client, 0x02, 0x03ff0005, 0, 4096), 0);
	cr_assert_eq(((uint32_t *)(void *)gw_client_at(client, GW_CLIENT_BUFFER))[0x86], 0);
	cr_assert_eq(((uint32_t *)(void *)gw_client_at(client, GW_CLIENT_BUFFER))[256 + 0x0c], 0);
	gw_rig_close(&rig);
}

Test(ssd_config, tiny)
{
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_CREATE_CQ };
	struct gw_client *client;
	struct nvme_id_ctrl id;
	struct gw_rig rig;
	uint32_t granted;

	open_preset(&rig, "tiny", 2);
	client = &rig.client[0];
	cr_assert_eq(gw_client_register(client, NVME_REG_CAP) & 0xffff, 15);
	cr_assert_eq(gw_client_identify(client, 0x01, 0, &id), 0);
	cr_assert_eq(id.mdts, 1);
	cr_assert_eq(id.nn, 2);
	cr_assert_eq(id.aerl, 0);
	cr_assert_eq(id.elpe, 3);
	cr_assert_eq(id.mcudmq, 1);
	cr_assert_eq(id.mcdqpc, 1);
	cr_assert_eq(id.cmmrtd, 1);
	cr_assert_eq(id.acwu, 0);
	/* Each limit is the limit. */
	cr_assert_eq(gw_client_io(client, GW_NVME_WRITE, 1, 0, 16, GW_CLIENT_BUFFER, 8192), 0);
	cr_assert_eq(gw_client_io(client, GW_NVME_WRITE, 1, 0, 17, GW_CLIENT_BUFFER, 17 * 512),
		     NVME_SC_INVALID_FIELD);
	sqe.data_pointer[0] = GW_CLIENT_IOVA + GW_CLIENT_BUFFER;
	sqe.cdw10 = 15u << 16 | 3;
	sqe.cdw11 = 1;
	cr_assert_eq(gw_client_execute(client, 0, &sqe, 0, 0, NULL), NVME_SC_INVALID_QID);
	sqe.cdw10 = 16u << 16 | 2;
	cr_assert_eq(gw_client_execute(client, 0, &sqe, 0, 0, NULL), NVME_SC_INVALID_QUEUE_SIZE);
	sqe.cdw10 = 15u << 16 | 2;
	sqe.cdw11 = 3u << 16 | 3;
	cr_assert_eq(gw_client_execute(client, 0, &sqe, 0, 0, NULL), NVME_SC_INVALID_VECTOR);
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_GET_FEATURES, .cdw10 = NVME_FID_QUEUES };
	cr_assert_eq(gw_client_execute(client, 0, &sqe, 0, 0, &granted), 0);
	cr_assert_eq(granted, 0x10001);
	gw_client_identify(client, 0x00, 3, &id);
	cr_assert_eq(gw_client_identify(client, 0x00, 3, &id), NVME_SC_INVALID_NAMESPACE);
	gw_rig_close(&rig);
}

static void set_wide(struct gw_client *client, uint32_t offset, uint64_t value)
{
	gw_client_set_register(client, offset + 4, (uint32_t)(value >> 32));
	gw_client_set_register(client, offset, (uint32_t)value);
}

/* Base 8.2.1: it is where the host says, for data and lists; a Controller Level Reset takes it away. */
Test(ssd_config, controller_memory)
{
	const uint64_t base = UINT64_C(1) << 40, enable = base | NVME_CMBMSC_REGISTERS | NVME_CMBMSC_SPACE;
	struct gw_nvme_sqe sqe = { .opcode = GW_NVME_WRITE, .nsid = 1, .cdw12 = 31 };
	struct gw_ssd_config config;
	struct gw_client *client;
	uint64_t list[4];
	uint8_t text[16] = "in BAR 2", read[16];
	struct gw_rig rig;

	gw_ssd_config_init(&config);
	cr_assert_eq(gw_ssd_config_set(&config, "cmb", "64KiB", NULL), 0);
	config.namespace_bytes = UINT64_C(4) << 20;
	gw_rig_open(&rig, 1, &config);
	client = &rig.client[0];
	gw_client_start(client, 1);
	cr_assert_eq(gw_client_register(client, NVME_REG_CMBSZ), 0, "not before CRE");
	set_wide(client, NVME_REG_CMBMSC, enable);
	cr_assert_eq(gw_client_register(client, NVME_REG_CMBSZ), 0x1001f);
	cr_assert_eq(gw_client_register(client, NVME_REG_CMBLOC), 0xfa);
	/* 16 KiB: the first page and the list in it, the rest in host memory. */
	cr_assert_eq(gw_client_write(client, 2, 0x3008, text, sizeof(text)), 0);
	for (uint64_t i = 0; i < 3; i++)
		list[i] = GW_CLIENT_IOVA + GW_CLIENT_BUFFER + i * 4096;
	cr_assert_eq(gw_client_write(client, 2, 0x8000, list, 24), 0);
	memset(gw_client_at(client, GW_CLIENT_BUFFER), 0x5a, 3 * 4096);
	sqe.data_pointer[0] = base + 0x3000;
	sqe.data_pointer[1] = base + 0x8000;
	cr_assert_eq(gw_client_execute(client, 1, &sqe, 0, 0, NULL), 0);
	/* Back into the last page of it. */
	sqe = (struct gw_nvme_sqe){ .opcode = GW_NVME_READ, .nsid = 1, .cdw12 = 7 };
	sqe.data_pointer[0] = base + 0xf000;
	cr_assert_eq(gw_client_execute(client, 1, &sqe, 0, 0, NULL), 0);
	cr_assert_eq(gw_client_read(client, 2, 0xf008, read, sizeof(read)), 0);
	cr_assert_arr_eq(read, text, sizeof(text));
	cr_assert_eq(gw_client_read(client, 2, 0xfff8, read, sizeof(read)), -EINVAL, "past its end");
	/* CC.EN leaves it where it is; and it is not where it is not. */
	gw_client_stop_controller(client);
	gw_client_start_controller(client);
	gw_client_create_queues(client, 1);
	cr_assert_eq(gw_client_execute(client, 1, &sqe, 0, 0, NULL), 0);
	sqe.data_pointer[0] = base + 0x10000;
	cr_assert_eq(gw_client_execute(client, 1, &sqe, 0, 0, NULL), NVME_SC_DATA_TRANSFER_ERROR);
	set_wide(client, NVME_REG_CMBMSC, ~UINT64_C(4095) | NVME_CMBMSC_REGISTERS | NVME_CMBMSC_SPACE);
	cr_assert_eq(gw_client_register(client, NVME_REG_CMBSTS), NVME_CMBSTS_INVALID, "it would wrap");
	cr_assert_eq(gw_client_call(client, GW_VFU_RESET, NULL, 0, NULL, 0, NULL, 0), 0);
	cr_assert_eq(gw_client_register(client, NVME_REG_CMBSZ), 0);
	gw_rig_close(&rig);
}

/* What is switched off is an unknown command, and so are its fields. */
Test(ssd_config, switches)
{
	static const char *const off[] = { "compare", "write-zeroes", "dataset-management", "copy",
					   "write-uncorrectable", "verify", "format", "sanitize",
					   "namespace-management", "timestamp", "track-changes", "lba-status",
					   "save-features" };
	static const uint8_t io[] = { GW_NVME_COMPARE, GW_NVME_WRITE_ZEROES, GW_NVME_VERIFY, GW_NVME_COPY,
				      GW_NVME_WRITE_UNCORRECTABLE, GW_NVME_DATASET_MANAGEMENT };
	static const uint8_t admins[] = { 0x80, 0x84, 0x0d, 0x15, 0x45 };
	struct gw_ssd_config config;
	struct gw_client *client;
	struct nvme_id_ctrl id;
	struct gw_rig rig;

	gw_ssd_config_init(&config);
	cr_assert_eq(gw_ssd_config_set(&config, "preset", "hmlm", NULL), 0);
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		cr_assert_eq(gw_ssd_config_set(&config, off[i], "off", NULL), 0);
	config.namespace_bytes = UINT64_C(4) << 20;
	gw_rig_open(&rig, 2, &config);
	client = &rig.client[0];
	gw_client_start(client, 1);
	cr_assert_eq(gw_client_identify(client, 0x01, 0, &id), 0);
	cr_assert_eq(id.oncs, 0);
	cr_assert_eq(id.sanicap, 0);
	cr_assert_eq(id.oacs, NVME_OACS_HMLMS);
	cr_assert_eq(id.trattr, NVME_TRATTR_MEMORY);
	cr_assert_eq(id.mcudmq, 0);
	for (size_t i = 0; i < sizeof(io); i++)
		cr_assert_eq(gw_client_io(client, io[i], 1, 0, 1, GW_CLIENT_BUFFER, 512),
			     NVME_SC_INVALID_OPCODE, "%02x", io[i]);
	for (size_t i = 0; i < sizeof(admins); i++)
		cr_assert_eq(admin(client, admins[i], 0, 0, 4096), NVME_SC_INVALID_OPCODE, "%02x",
			     admins[i]);
	/* Get LBA Status: of allocated blocks, which is another switch, and of no other kind. */
	for (uint32_t type = 0x02; type <= 0x11; type++) {
		struct gw_nvme_sqe sqe = { .opcode = 0x86, .nsid = 1, .cdw12 = 1023, .cdw13 = type << 24 };

		cr_assert_eq(gw_client_execute(client, 0, &sqe, GW_CLIENT_BUFFER, 4096, NULL),
			     type == 0x02 ? NVME_SC_SUCCESS : NVME_SC_INVALID_FIELD, "%02x", type);
	}
	cr_assert_eq(admin(client, GW_NVME_TRACK_SEND, 0x10000, 1, 0), NVME_SC_INVALID_FIELD);
	cr_assert_eq(admin(client, GW_NVME_GET_FEATURES, NVME_FID_TIMESTAMP, 0, 8),
		     NVME_SC_INVALID_FIELD);
	gw_rig_close(&rig);
}

/* ---- The store --------------------------------------------------------------------------------------- */

static char store[64], file[128];

static const char *in_store(const char *name)
{
	snprintf(file, sizeof(file), "%s/%s", store, name);
	return file;
}

/* A store with one namespace, whose identity comes back. */
static void make_store(uint8_t nguid[16])
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	struct gw_subsys ss;

	strcpy(store, "/tmp/godwit-ssd-store-XXXXXX");
	cr_assert_not_null(mkdtemp(store));
	gw_ssd_config_init(&config);
	config.namespace_bytes = UINT64_C(1) << 20;
	cr_assert_eq(gw_subsys_open(&ss, store, &config, &diag), 0, "%s", diag.text);
	memcpy(nguid, ss.ns[0]->nguid, 16);
	gw_subsys_close(&ss);
}

static void remove_store(void)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -rf %s", store);
	cr_assert_eq(system(command), 0);
}

/* Its disk is not mounted, say: that is no reason to describe the store anew. */
Test(ssd_config, a_store_whose_data_is_away_stays_what_it_is)
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	struct gw_subsys ss;
	uint8_t nguid[16];

	make_store(nguid);
	cr_assert_eq(unlink(in_store("ns-1.data")), 0);
	cr_assert_eq(symlink("/nowhere/ns-1.data", file), 0);
	gw_ssd_config_init(&config);
	config.ns[1].is_there = true;
	config.ns[1].bytes = UINT64_C(1) << 20;
	cr_assert_eq(gw_subsys_open(&ss, store, &config, &diag), -ENOENT);
	cr_assert_not_null(strstr(diag.text, store), "%s", diag.text);
	cr_assert_not_null(strstr(diag.text, "ns-1.data"), "%s", diag.text);

	cr_assert_eq(unlink(file), 0);
	gw_ssd_config_init(&config);
	memset(&diag, 0, sizeof(diag));
	cr_assert_eq(gw_subsys_open(&ss, store, &config, &diag), 0, "%s", diag.text);
	cr_assert_not_null(ss.ns[0]);
	cr_assert_eq(memcmp(ss.ns[0]->nguid, nguid, 16), 0);
	cr_assert_null(ss.ns[1]);
	gw_subsys_close(&ss);
	remove_store();
}

static void open_fails(const char *text)
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	struct gw_subsys ss;

	gw_ssd_config_init(&config);
	cr_assert_lt(gw_subsys_open(&ss, store, &config, &diag), 0);
	cr_assert_not_null(strstr(diag.text, store), "%s", diag.text);
	cr_assert_not_null(strstr(diag.text, text), "%s", diag.text);
}

static void describe(const char *text)
{
	FILE *out;

	unlink(in_store("subsystem.json"));
	out = fopen(file, "we");
	cr_assert_not_null(out);
	fputs(text, out);
	fclose(out);
}

/* Whatever is wrong with a description is said, with the directory. */
Test(ssd_config, a_bad_description_is_said)
{
	uint8_t nguid[16];

	make_store(nguid);
	describe("");
	open_fails("no description");
	describe("[1]");
	open_fails("no description");
	describe("{\"schema_version\":1,\"namespaces\":[7]}");
	open_fails("namespace 0 makes no sense");
	describe("{\"schema_version\":1,\"namespaces\":[{\"nsid\":3,\"block_bytes\":513,\"size_bytes\":4096}]}");
	open_fails("namespace 3 makes no sense");
	describe("{\"schema_version\":1,\"namespaces\":[],\"saved_features\":[{\"controller\":99}]}");
	open_fails("saved feature");
	describe("{\"schema_version\":1,\"namespaces\":[{\"nsid\":1,\"block_bytes\":512,\"size_bytes\":4096}]}");
	open_fails("more than the 4096 that its namespace takes");
	unlink(in_store("subsystem.json"));
	cr_assert_eq(symlink("subsystem.json", file), 0);
	open_fails("subsystem.json: Too many levels");
	remove_store();
}

Test(ssd_config, a_store_is_one_subsystems_alone)
{
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	struct gw_subsys ss;
	uint8_t nguid[16];

	make_store(nguid);
	gw_ssd_config_init(&config);
	cr_assert_eq(gw_subsys_open(&ss, store, &config, &diag), 0, "%s", diag.text);
	open_fails("is in use");
	gw_subsys_close(&ss);
	cr_assert_eq(gw_subsys_open(&ss, store, &config, &diag), 0, "%s", diag.text);
	gw_subsys_close(&ss);
	remove_store();
}

/* Else the next start would refuse what this one has made. */
Test(ssd_config, no_namespace_is_made_above_the_limit)
{
	uint8_t nguid[16];
	struct gw_ssd_config config;
	struct gw_diag diag = { 0 };
	struct gw_subsys ss;

	make_store(nguid);
	cr_assert_eq(unlink(in_store("subsystem.json")), 0);
	gw_ssd_config_init(&config);
	config.limits.namespaces = 2;
	config.ns[2].is_there = true;
	cr_assert_eq(gw_subsys_open(&ss, store, &config, &diag), -EINVAL);
	cr_assert_not_null(strstr(diag.text, "namespace 3 is configured, and namespaces=2"), "%s", diag.text);
	remove_store();
}
