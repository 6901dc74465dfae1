/*
 * init.h - the first server, and that there always is one.                                     floor 7
 */
#ifndef INIT_H
#define INIT_H

#include "object.h"

/* Start /servers/init if the initrd has the servers, with `machine` as its HANDLE_MACHINE; again when it ends. Once, at boot. */
void init_start(struct object *machine);

#endif
