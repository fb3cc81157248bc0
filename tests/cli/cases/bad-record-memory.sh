#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
godwit track start /dev/null --record-memory 0
