// SPDX-License-Identifier: GPL-2.0-or-later
/* godwit-ssd: an NVMe subsystem in a process. See godwit-ssd(8). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <godwit/version.h>

#include "ssd_control.h"
#include "ssd_listen.h"

#define SUBSYSTEMS_MAX GW_SSD_SUBSYSTEMS_MAX
#define LISTENERS_MAX 32u

struct ssd {
	struct gw_subsys subsys[SUBSYSTEMS_MAX];
	uint32_t subsystems;
	struct gw_listener listener[LISTENERS_MAX];
	uint32_t listeners;
	const char *control_path;	/* NULL: no control socket */
	const char *script_path;	/* NULL: no commands to begin with */
	struct gw_ssd_set set;
	struct gw_ssd_control control;
	int trace_fd;			/* -1: none */
};

static const char usage[] =
	"usage: godwit-ssd --subsystem DIR[,KEY=VALUE]... --listen SOCKET [--listen SOCKET]...\n"
	"                  [--subsystem ...]... [--control SOCKET]\n"
	"       godwit-ssd ctl SOCKET COMMAND\n"
	"\n"
	"An NVMe subsystem in a process; QEMU (10.1 or newer) plugs it in with vfio-user-pci.\n"
	"\n"
	"  --subsystem DIR[,KEY=VALUE]...  a subsystem, its data in DIR (made where it is missing)\n"
	"      config=FILE         keys from a file, and sections for namespaces and controllers\n"
	"      preset=plain|hmlm|old|tiny   comes first. hmlm: the first controller manages live\n"
	"                          migrations of the others; old: as NVMe 1.3; tiny: small limits\n"
	"      size=SIZE           of the first namespace, when DIR is new (1GiB)\n"
	"      block=512|4096      its block size (512)\n"
	"      capacity=SIZE       of all namespaces together (1TiB)\n"
	"      cache=SIZE          volatile write cache of each namespace, 0: none (4MiB)\n"
	"      serial=, model=, firmware=, nqn=   identity\n"
	"      merge=on|off        of neighbouring entries in the log of changes (off)\n"
	"      and all others of docs/godwit-ssd.md: limits, optional commands\n"
	"  --listen SOCKET                 a controller of the subsystem before it, on this socket\n"
	"  --control SOCKET                answers commands, in JSON; `ctl SOCKET help` lists them\n"
	"  --script FILE                   commands of the control socket to begin with, such as faults\n"
	"  --trace FILE[,json]             every command, as a line of text or of JSON\n"
	"  --help, --version\n";

/* ---- Options ------------------------------------------------------------------------------------- */

static int set_key(struct gw_ssd_config *config, const char *key, const char *value,
		   struct gw_diag *diag)
{
	struct gw_diag why = { 0 };
	int err;

	if (strcmp(key, "config") == 0)
		return gw_ssd_config_read(config, value, diag);
	err = gw_ssd_config_set(config, key, value, &why);
	return err < 0 ? gw_fail_exit(diag, GW_EXIT_USAGE, err, "--subsystem: %s", why.text) : 0;
}

/* DIR[,KEY=VALUE]...; text is cut into pieces. */
static int parse_subsystem(char *text, struct gw_ssd_config *config, struct gw_diag *diag)
{
	char *rest = strchr(text, ',');
	int err = 0;

	if (text[0] == '\0' || text[0] == ',')
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "--subsystem begins with a directory");
	if (rest == NULL)
		return 0;
	*rest++ = '\0';
	for (char *key; err == 0 && (key = strsep(&rest, ",")) != NULL;) {
		char *value = strchr(key, '=');

		if (value == NULL)
			return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "--subsystem: %s has no value",
					    key);
		*value++ = '\0';
		err = set_key(config, key, value, diag);
	}
	return err;
}

static int add_subsystem(struct ssd *ssd, char *text, struct gw_diag *diag)
{
	struct gw_ssd_config config;
	int err;

	if (ssd->subsystems == SUBSYSTEMS_MAX)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "at most %u subsystems",
				    SUBSYSTEMS_MAX);
	gw_ssd_config_init(&config);
	/* Subsystems of one process are told apart unless the user has named them. */
	snprintf(config.serial, sizeof(config.serial), "GODWIT%04u", ssd->subsystems + 1);
	config.number = (uint8_t)(ssd->subsystems + 1);
	config.nqn[0] = '\0';
	err = parse_subsystem(text, &config, diag);
	if (config.nqn[0] == '\0')
		snprintf(config.nqn, sizeof(config.nqn), "nqn.2026-11.org.godwit:ssd:%s", config.serial);
	if (err == 0)
		err = gw_subsys_open(&ssd->subsys[ssd->subsystems], text, &config, diag);
	if (err < 0)
		return err;
	ssd->set.subsys[ssd->subsystems++] = &ssd->subsys[ssd->set.subsystems++];
	return 0;
}

static int add_listener(struct ssd *ssd, const char *path, struct gw_diag *diag)
{
	struct gw_ctrl *c;
	int err;

	if (ssd->subsystems == 0)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "--listen comes after a --subsystem");
	if (ssd->listeners == LISTENERS_MAX)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "at most %u controllers",
				    LISTENERS_MAX);
	c = gw_ctrl_create(&ssd->subsys[ssd->subsystems - 1], diag);
	if (c == NULL)
		return -EINVAL;
	err = gw_listener_open(&ssd->listener[ssd->listeners], path, c, diag);
	if (err == 0)
		ssd->listeners++;
	return err;
}

/* FILE[,json] */
static int open_trace(struct ssd *ssd, char *text, struct gw_diag *diag)
{
	char *format = strrchr(text, ',');
	const bool is_json = format != NULL && strcmp(format, ",json") == 0;

	if (is_json)
		*format = '\0';
	if (ssd->trace_fd >= 0)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "one --trace is enough");
	ssd->trace_fd = open(text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (ssd->trace_fd < 0 || gw_trace_to(ssd->trace_fd, is_json) < 0)
		return gw_fail(diag, -errno, "cannot write %s: %s", text, strerror(errno));
	return 0;
}

static int parse(struct ssd *ssd, int argc, char **argv, struct gw_diag *diag)
{
	static const struct option options[] = {
		{ "subsystem", required_argument, NULL, 's' },
		{ "listen", required_argument, NULL, 'l' },
		{ "control", required_argument, NULL, 'c' },
		{ "script", required_argument, NULL, 'f' },
		{ "trace", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option, err = 0;

	while (err == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			err = add_subsystem(ssd, optarg, diag);
		else if (option == 'l')
			err = add_listener(ssd, optarg, diag);
		else if (option == 'c')
			ssd->control_path = optarg;
		else if (option == 'f')
			ssd->script_path = optarg;
		else if (option == 't')
			err = open_trace(ssd, optarg, diag);
		else if (option == 'h')
			exit(fputs(usage, stdout) < 0 ? GW_EXIT_IO : GW_EXIT_DONE);
		else if (option == 'V')
			exit(printf("godwit-ssd %s\n", GODWIT_VERSION) < 0 ? GW_EXIT_IO : GW_EXIT_DONE);
		else
			err = gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "see --help");
	}
	if (err == 0 && (optind < argc || ssd->listeners == 0))
		err = gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL,
				   "needs --subsystem DIR and --listen SOCKET; see --help");
	return err;
}

/* ---- Run ------------------------------------------------------------------------------------------- */

/* Workers before listeners: who connects finds all controllers there. */
static int start(struct ssd *ssd, struct gw_diag *diag)
{
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < ssd->listeners; i++)
		err = gw_ctrl_start(ssd->listener[i].port.ctrl);
	for (uint32_t i = 0; err == 0 && i < ssd->listeners; i++)
		err = gw_listener_start(&ssd->listener[i]);
	if (err < 0)
		return gw_fail(diag, err, "cannot start a thread: %s", strerror(-err));
	return 0;
}

static int run(struct ssd *ssd, const sigset_t *ending, struct gw_diag *diag)
{
	int number, err = 0;

	if (ssd->script_path != NULL)
		err = gw_ssd_control_script(&ssd->set, ssd->script_path, diag);
	if (err == 0)
		err = start(ssd, diag);

	if (err == 0 && ssd->control_path != NULL)
		err = gw_ssd_control_open(&ssd->control, ssd->control_path, &ssd->set, diag);
	if (err < 0)
		return err;
	for (uint32_t i = 0; i < ssd->listeners; i++) {
		const struct gw_ctrl *c = ssd->listener[i].port.ctrl;

		printf("controller %u of %s%s listens on %s\n", c->cntlid, c->ss->config.nqn,
		       c->is_manager ? ", which manages migrations," : "", ssd->listener[i].socket.path);
	}
	if (fflush(stdout) != 0)
		return gw_fail(diag, -EIO, "cannot write to standard output");
	sigwait(ending, &number);
	return 0;
}

static int stop(struct ssd *ssd, struct gw_diag *diag)
{
	int err = 0;

	gw_ssd_control_close(&ssd->control);
	/* Workers first, so that none of them looks at a port that is gone. */
	for (uint32_t i = 0; i < ssd->listeners; i++)
		gw_ctrl_stop(ssd->listener[i].port.ctrl);
	for (uint32_t i = 0; i < ssd->listeners; i++)
		gw_listener_close(&ssd->listener[i]);
	for (uint32_t i = 0; i < ssd->subsystems; i++) {
		const int closed = gw_subsys_close(&ssd->subsys[i]);

		if (closed < 0)
			err = gw_fail_exit(diag, GW_EXIT_IO, closed, "subsystem %u: what its write cache held is "
					   "lost: %s", i + 1, strerror(-closed));
	}
	gw_trace_to(-1, false);
	if (ssd->trace_fd >= 0)
		close(ssd->trace_fd);
	if (gw_trace_dropped() > 0)
		fprintf(stderr, "godwit-ssd: %llu commands are not in the trace\n",
			(unsigned long long)gw_trace_dropped());
	return err;
}

/* godwit-ssd ctl SOCKET COMMAND...: the words of the command in a line. */
static int ask(int argc, char **argv, struct gw_diag *diag)
{
	char line[GW_SSD_LINE_BYTES_MAX - 1] = "";

	if (argc < 4)
		return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "usage: godwit-ssd ctl SOCKET COMMAND");
	for (int i = 3; i < argc; i++) {
		if (strchr(argv[i], '\n') != NULL)
			return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "a command is one line");
		if (strlen(line) + strlen(argv[i]) + 2 > sizeof(line))
			return gw_fail_exit(diag, GW_EXIT_USAGE, -EINVAL, "a command has at most %zu bytes",
					    sizeof(line) - 2);
		strcat(strcat(line, i > 3 ? " " : ""), argv[i]);
	}
	return gw_ssd_control_ask(argv[2], line, diag);
}

static enum gw_exit exit_of(const struct gw_diag *diag)
{
	return diag->exit_code != GW_EXIT_DONE ? diag->exit_code : GW_EXIT_CANNOT;
}

int main(int argc, char **argv)
{
	struct ssd *ssd = calloc(1, sizeof(*ssd));
	struct gw_diag diag = { 0 };
	sigset_t ending;
	int err;

	if (ssd == NULL)
		return GW_EXIT_CANNOT;
	ssd->trace_fd = -1;
	if (argc > 1 && strcmp(argv[1], "ctl") == 0) {
		err = ask(argc, argv, &diag);
		if (err < 0)
			fprintf(stderr, "godwit-ssd: %s\n", diag.text);
		free(ssd);
		return err < 0 ? (int)exit_of(&diag) : GW_EXIT_DONE;
	}
	/* Before any thread is made: all of them inherit it, and only sigwait() sees these. */
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ending, NULL);
	signal(SIGPIPE, SIG_IGN);
	gw_dma_catch_sigbus();
	err = parse(ssd, argc, argv, &diag);
	if (err == 0)
		err = run(ssd, &ending, &diag);
	if (err < 0)
		fprintf(stderr, "godwit-ssd: %s\n", diag.text);
	if (err == 0) {
		err = stop(ssd, &diag);
		if (err < 0)
			fprintf(stderr, "godwit-ssd: %s\n", diag.text);
	} else {
		stop(ssd, NULL);
	}
	free(ssd);
	return err < 0 ? (int)exit_of(&diag) : GW_EXIT_DONE;
}
