#!/bin/sh
# vmcore-encrypt-root.sh - dracut hook cmdline: tells dracut to do without a root file system in the capture kernel.
#
# Sourced by dracut's init. Without it dracut gives up on a command line without root=, before the dump
# is saved. Must not touch an ordinary boot.

# shellcheck disable=SC2034 # read by dracut's init
if [ -s /proc/vmcore ]; then
    root=kdump
    rootok=1
fi
