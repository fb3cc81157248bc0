#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
yes godwit | head -c 4096 >journal
godwit report journal
