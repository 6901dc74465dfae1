/*
 * random.h - numbers that nobody guesses by accident.                                          floor 1
 */
#ifndef RANDOM_H
#define RANDOM_H

#include "lib/types.h"

void random_fill(void *to, usize bytes);

#endif
