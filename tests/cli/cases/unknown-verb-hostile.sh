#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What was typed must not steer the terminal.
godwit $'\e[31m\rx\302\233y\200'
