/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The version of the program and of the library; the Makefile's VERSION is the same. */
#ifndef GODWIT_VERSION_H
#define GODWIT_VERSION_H

#define GODWIT_VERSION "0.1.0"

#endif
