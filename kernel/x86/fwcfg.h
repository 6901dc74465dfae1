/*
 * fwcfg.h - named files that the emulator hands to the guest.                          floor 1
 */
#ifndef X86_FWCFG_H
#define X86_FWCFG_H

#include "lib/types.h"

isize fwcfg_read(const char *name, void *buf, usize size);

#endif
