#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
godwit migrate --continue name --handoff freeze
