/*
 * prezerod.h - huge pages are cleared while a CPU has nothing to do.                          floor 6
 */
#ifndef PREZEROD_H
#define PREZEROD_H

#include "lib/types.h"

void prezerod_init(void);
void prezerod_update(void); /* thp_settings.prezero or prezero_pool changed */

#endif
