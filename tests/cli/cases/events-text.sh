#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
TZ=UTC0 godwit events "$(dirname "$0")/../events.log"
