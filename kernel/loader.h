/*
 * loader.h - from a file of the initrd to a running task.                                      floor 7
 */
#ifndef LOADER_H
#define LOADER_H

#include "task.h"

void loader_init(
	const void *initrd, usize bytes); /* the archive, for good; 0 bytes: there is none */
const void *loader_initrd(
	usize *bytes); /* the same archive, for `ls` and `cat`; NULL with 0 bytes */

#define LOADER_ARGS      64   /* argc at most */
#define LOADER_ARG_BYTES 4096 /* of all arguments together, with their final zeros */

/*
 * loader_start_server - run a program as the first of the servers: no personality, nobody's child, not chosen when
 * memory is short, and `machine` is its HANDLE_MACHINE with every right a machine has.
 *   returns  as loader_start(), and *out with a reference
 */
int __must_check loader_start_server(
	const char *path, struct object *machine, struct task **out, char *err, usize err_size);

struct mm *loader_make_space(void); /* an empty one, with Linux's borders; NULL: no memory */

/*
 * loader_start - run a program.
 *
 *   path     in the initrd; a name without a slash is looked for in /bin
 *   argv     argc words, argv[0] included
 *   parent   NULL (the console), or the calling task
 *   out      the task with a reference, for task_wait_console(); NULL: not wanted
 *   returns  0 once it is loaded and about to enter ring 3; -ENOENT, -ENOEXEC, -ENOMEM, -E2BIG, and one
 *            line without a newline in err that says what is wrong
 *   locks    none held; sleeps
 */
int __must_check loader_start(const char *path, int argc, char *const argv[], struct task *parent,
	struct task **out, char *err, usize err_size);

#endif
