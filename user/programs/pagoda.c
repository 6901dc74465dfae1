/*
 * pagoda.c - the monitor's commands as programs: `thp`, `pagoda thp`, `buddyinfo > file` ...      ring 3
 *
 * Its base name, or its first argument where it is called pagoda, is a command of the kernel's monitor. The words are
 * quoted for the monitor's grammar, the line is run there, and its text comes back here: into a pipe, a file, a terminal.
 * Nothing of a command is written twice. It needs the handle with RIGHT_DEBUG that every process of the shell has in slot 1.
 *
 * `run PROG ARGS` is the exception: in a shell it means the program itself, as a child of the shell.
 */
#include "native.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_USAGE 2

/* Characters a word may have without quotes in the monitor. */
static bool is_plain(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-+=/.,:%@^~[]{}?*!";

	return *word && word[strspn(word, plain)] == '\0';
}

/* Appends a word: as it is, or in '...', where a ' becomes '"'"'. Returns the end. */
static char *put_word(char *to, const char *word)
{
	if (is_plain(word))
		return stpcpy(to, word);
	*to++ = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			to = stpcpy(to, "'\"'\"'");
		else
			*to++ = *word;
	}
	*to++ = '\'';
	*to = '\0';
	return to;
}

/* The words as one line; NULL: no memory. */
static char *make_line(char *const words[])
{
	size_t room = 1;
	char *line, *end;

	for (int i = 0; words[i]; i++)
		room += 5 * strlen(words[i]) + 3;
	line = end = malloc(room);
	if (!line)
		return NULL;
	*end = '\0';
	for (int i = 0; words[i]; i++) {
		if (i > 0)
			*end++ = ' ';
		end = put_word(end, words[i]);
	}
	return line;
}

static bool write_all(const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDOUT_FILENO, bytes, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		bytes += done;
		n -= done;
	}
	return true;
}

static int complain(const char *what, long error)
{
	fprintf(stderr, "pagoda: %s: %s\n", what, strerror(-error));
	return 1;
}

/* The text of a command as it comes; the command's exit status. */
static int stream(uint32_t session)
{
	static char text[4096];
	long n;

	while ((n = debug_read(session, text, sizeof(text))) > 0 || n == -EINTR)
		if (n > 0 && !write_all(text, n))
			return 1;
	if (n < 0)
		return complain("the monitor's text ended early", n);
	do
		n = debug_status(session);
	while (n == -EINTR);
	return n < 0 ? complain("the command was given up", n) : (int)n;
}

static int run_command(char *const words[])
{
	char *line = make_line(words);
	long session;

	if (!line)
		return complain(words[0], -ENOMEM);
	session = debug_open(HANDLE_MACHINE, line, strlen(line));
	if (session == -EBADF || session == -EACCES || session == -EINVAL || session == -ENOSYS) {
		fprintf(stderr, "pagoda: this process may not use the monitor\n");
		return 1;
	}
	return session < 0 ? complain(words[0], session) : stream(session);
}

static int run_program(char *const words[])
{
	if (!words[0]) {
		fprintf(stderr, "usage: run PROGRAM [ARGUMENT]...\n");
		return STATUS_USAGE;
	}
	execvp(words[0], words);
	fprintf(stderr, "run: %s: %s\n", words[0], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

int main(int argc, char *argv[])
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;

	if (argc < 1)
		return STATUS_USAGE;
	if (slash)
		argv[0] += slash + 1 - argv[0];
	if (!strcmp(argv[0], "pagoda")) {
		argv++;
		if (!*argv) {
			fprintf(stderr, "usage: pagoda COMMAND [ARGUMENT]...   (pagoda help)\n");
			return STATUS_USAGE;
		}
	}
	if (!strcmp(argv[0], "run"))
		return run_program(argv + 1);
	return run_command(argv);
}
