#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
godwit check a b --verify=before
