/*
 * kcompactd.h - the thread that compacts before anyone has to wait.                           floor 6
 */
#ifndef KCOMPACTD_H
#define KCOMPACTD_H

void kcompactd_init(void); /* start the thread */
void kcompactd_wake(void); /* a setting changed: look again */

#endif
