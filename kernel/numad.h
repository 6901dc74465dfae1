/*
 * numad.h - the thread that asks who uses which memory.                                        floor 6
 */
#ifndef NUMAD_H
#define NUMAD_H

void numad_init(void); /* starts the thread */
void numad_wake(void); /* a setting changed */

#endif
