#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A reader that goes away is no death by signal, and needs no words.
{ sleep 0.2; godwit help; echo "$?" >status; } | true
[ "$(cat status)" = 4 ]
