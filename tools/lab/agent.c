// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * In a guest of the lab: runs one command that the host names, and carries its input, its output and
 * its exit status over one virtio-serial port. Frames: a type, a length (4 bytes, little endian), data.
 *
 *   host to guest   a  argument (the first is the program)   e  NAME=VALUE   t  a terminal, "ROWS COLUMNS"
 *                   g  go                                    i  input        c  end of input
 *   guest to host   r  ready   o, E  output, error output    k  the kernel's log   x  exit status, last
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FRAME_BYTES_MAX = 65536,
	ARGUMENTS_MAX = 1024,
	KERNEL_LOG_BYTES = 4 << 20,
	POLL_MS = 20,
	/* What a command leaves running is listened to until it has been silent, after that long. */
	LINGER_MS = 200,
	SYSLOG_ACTION_READ_ALL = 3,
};

static int port_fd = -1;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* On the console, which is the guest's log; init's end is a panic, and so the run's. */
static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lab agent: ", stderr);
	vfprintf(stderr, format, args);
	fprintf(stderr, ": %m\n");
	va_end(args);
	exit(1);
}

static void write_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;

	while (bytes > 0) {
		const ssize_t wrote = write(fd, at, bytes);

		if (wrote < 0 && errno != EINTR)
			fail("write");
		if (wrote > 0) {
			at += wrote;
			bytes -= (size_t)wrote;
		}
	}
}

static void send_frame(char type, const void *data, size_t bytes)
{
	static char frame[5 + FRAME_BYTES_MAX];
	const uint32_t length = htole32((uint32_t)bytes);

	frame[0] = type;
	memcpy(frame + 1, &length, sizeof(length));
	memcpy(frame + 5, data, bytes);
	write_all(port_fd, frame, 5 + bytes);
}

static void read_all(void *data, size_t bytes)
{
	char *at = data;

	while (bytes > 0) {
		const ssize_t got = read(port_fd, at, bytes);

		if (got < 0 && errno != EINTR)
			fail("read");
		/* Nobody at the other end yet. */
		if (got == 0)
			usleep(10000);
		if (got > 0) {
			at += got;
			bytes -= (size_t)got;
		}
	}
}

/* Receives one frame; data holds FRAME_BYTES_MAX and a NUL. Return: its type. */
static char receive_frame(char *data, size_t *bytes)
{
	unsigned char head[5];
	uint32_t length;

	read_all(head, sizeof(head));
	memcpy(&length, head + 1, sizeof(length));
	length = le32toh(length);
	if (length > FRAME_BYTES_MAX)
		fail("a frame of %u bytes", length);
	read_all(data, length);
	data[length] = '\0';
	*bytes = length;
	return (char)head[0];
}

/* There is no udev: the port is found by its name, its node is in devtmpfs. */
static void open_port(const char *wanted)
{
	DIR *all = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	char path[320], name[64];

	while (all != NULL && (entry = readdir(all)) != NULL) {
		FILE *file;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		file = fopen(path, "r");
		name[0] = '\0';
		if (file == NULL || fscanf(file, "%63s", name) != 1)
			name[0] = '\0';
		if (file != NULL)
			fclose(file);
		if (strcmp(name, wanted) != 0)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		port_fd = open(path, O_RDWR | O_CLOEXEC);
		break;
	}
	if (all != NULL)
		closedir(all);
	if (port_fd < 0)
		fail("no port called %s", wanted);
}

struct command {
	char *argv[ARGUMENTS_MAX + 1];
	size_t argc;
	bool terminal;
	struct winsize size;
	pid_t pid;
	int input_fd; /* -1: closed; does not block */
	char pending[FRAME_BYTES_MAX + 1]; /* input that the command has not taken yet */
	size_t pending_bytes, pending_done;
	int output_fd[2]; /* output, error output; -1: at its end */
};

static void receive_command(struct command *command)
{
	static char data[FRAME_BYTES_MAX + 1];
	size_t bytes;
	char type;

	while ((type = receive_frame(data, &bytes)) != 'g') {
		char *copy = strdup(data);

		if (copy == NULL)
			fail("memory");
		if (type == 'a' && command->argc < ARGUMENTS_MAX) {
			command->argv[command->argc++] = copy;
		} else if (type == 'e') {
			putenv(copy);
		} else if (type == 't') {
			command->terminal = true;
			if (sscanf(data, "%hu %hu", &command->size.ws_row, &command->size.ws_col) != 2)
				memset(&command->size, 0, sizeof(command->size));
			free(copy);
		} else {
			fail("a frame of type %c too many", type);
		}
	}
}

static void execute(struct command *command)
{
	signal(SIGPIPE, SIG_DFL);
	execvp(command->argv[0], command->argv);
	fprintf(stderr, "%s: %m\n", command->argv[0]);
	_exit(errno == ENOENT ? 127 : 126);
}

static void start_on_terminal(struct command *command)
{
	int fd;

	command->pid = forkpty(&fd, NULL, NULL, &command->size);
	if (command->pid < 0)
		fail("fork");
	if (command->pid == 0)
		execute(command);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	command->input_fd = dup(fd);
	command->output_fd[0] = fd;
	command->output_fd[1] = -1;
}

static void start_on_pipes(struct command *command)
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
		fail("pipe");
	command->pid = fork();
	if (command->pid < 0)
		fail("fork");
	if (command->pid == 0) {
		setsid();
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execute(command);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	command->input_fd = in[1];
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	command->output_fd[0] = out[0];
	command->output_fd[1] = err[0];
}

static void close_input(struct command *command)
{
	if (command->input_fd >= 0)
		close(command->input_fd);
	command->input_fd = -1;
}

static void pass_pending(struct command *command)
{
	const ssize_t wrote = write(command->input_fd, command->pending + command->pending_done,
				    command->pending_bytes - command->pending_done);

	if (wrote > 0)
		command->pending_done += (size_t)wrote;
	else if (errno != EINTR && errno != EAGAIN)
		close_input(command);
	if (command->pending_done == command->pending_bytes || command->input_fd < 0)
		command->pending_done = command->pending_bytes = 0;
}

static void receive_input(struct command *command)
{
	const char type = receive_frame(command->pending, &command->pending_bytes);

	if (type == 'c')
		close_input(command);
	else if (type != 'i')
		fail("a frame of type %c", type);
	if (command->input_fd < 0)
		command->pending_bytes = 0;
}

static void pass_output(struct command *command, int which)
{
	static char data[FRAME_BYTES_MAX];
	const ssize_t got = read(command->output_fd[which], data, sizeof(data));

	if (got > 0) {
		send_frame(which == 0 ? 'o' : 'E', data, (size_t)got);
	} else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
		close(command->output_fd[which]);
		command->output_fd[which] = -1;
	}
}

static bool ended(const struct command *command, int *status)
{
	pid_t pid;
	bool found = false;

	/* As init, it gets everybody's orphans. */
	while ((pid = waitpid(-1, status, WNOHANG)) > 0)
		if (pid == command->pid) {
			found = true;
			break;
		}
	return found;
}

/* Return: the command's exit status as a shell would say it. */
static int run(struct command *command)
{
	int status = 0, lingered_ms = 0;
	bool over = false;

	while (!over || command->output_fd[0] >= 0 || command->output_fd[1] >= 0) {
		const bool pending = command->pending_bytes > 0;
		struct pollfd fds[] = {
			{ .fd = command->output_fd[0], .events = POLLIN },
			{ .fd = command->output_fd[1], .events = POLLIN },
			{ .fd = pending ? command->input_fd : -1, .events = POLLOUT },
			{ .fd = pending || over ? -1 : port_fd, .events = POLLIN },
		};
		const int ready = poll(fds, 4, POLL_MS);

		if (!over && ended(command, &status))
			over = true;
		else if (over && (lingered_ms += POLL_MS) > LINGER_MS && ready == 0)
			break;
		if (ready <= 0)
			continue;
		for (int which = 0; which < 2; which++)
			if (fds[which].revents != 0)
				pass_output(command, which);
		if (fds[2].revents != 0)
			pass_pending(command);
		else if ((fds[3].revents & POLLIN) != 0)
			receive_input(command);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void send_kernel_log(void)
{
	char *log = malloc(KERNEL_LOG_BYTES);
	const int bytes = log == NULL ? 0 : klogctl(SYSLOG_ACTION_READ_ALL, log, KERNEL_LOG_BYTES);

	for (int done = 0; done < bytes; done += FRAME_BYTES_MAX)
		send_frame('k', log + done,
			   (size_t)(bytes - done < FRAME_BYTES_MAX ? bytes - done : FRAME_BYTES_MAX));
	free(log);
}

int main(void)
{
	static struct command command;
	char status[16];

	signal(SIGPIPE, SIG_IGN);
	open_port("lab");
	send_frame('r', "", 0);
	receive_command(&command);
	if (command.argc == 0)
		fail("no command");
	if (command.terminal)
		start_on_terminal(&command);
	else
		start_on_pipes(&command);
	snprintf(status, sizeof(status), "%d", run(&command));
	send_kernel_log();
	send_frame('x', status, strlen(status));
	/* The host switches the guest off. */
	for (;;)
		pause();
}
