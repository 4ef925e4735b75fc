#!/bin/sh
# vmcore-encrypt-wait.sh - dracut hook initqueue/finished: keeps the initqueue going until the dump is saved.
#
# Sourced by dracut's init in images that save into an object store: the network comes up there.

[ ! -s /proc/vmcore ]
