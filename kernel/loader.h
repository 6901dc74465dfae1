/*
 * loader.h - the first program, and the archive it comes from.                                 floor 7
 */
#ifndef LOADER_H
#define LOADER_H

#include "task.h"

/* The archive, for good; 0 bytes: there is none */
void loader_init(const void *initrd, usize bytes);
/* The same archive, for `ls` and `cat`; NULL with 0 bytes */
const void *loader_initrd(usize *bytes);

struct mm *loader_make_space(void); /* an empty one, with Linux's borders; NULL: no memory */

/*
 * loader_start - run the first program: no personality, nobody's child, not chosen when memory is short, and `machine`
 * is its HANDLE_MACHINE with every right a machine has.
 *
 *   path     in the initrd, shorter than 128 bytes
 *   out      the task with a reference, for task_wait()
 *   returns  0 once it is loaded and about to enter ring 3; -ENOENT, -ENOEXEC, -ENOMEM, and one line without a
 *            newline in err that says what is wrong
 *   locks    none held; sleeps
 */
int __must_check loader_start(
	const char *path, struct object *machine, struct task **out, char *err, usize err_size);

#endif
