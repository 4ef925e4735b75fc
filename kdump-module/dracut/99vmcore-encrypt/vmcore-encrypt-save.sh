#!/bin/sh
# vmcore-encrypt-save.sh - dracut hook pre-trigger: saves the dump before any device is unlocked or mounted. For an object
# store it is the hook of an initqueue that has waited too long for the network.
#
# Sourced by dracut's init in images that no distribution's kdump scripts drive. save does not return
# once there is a vmcore; should it, the machine reboots: never on to an emergency shell.

if [ -s /proc/vmcore ]; then
    udevadm trigger --type=subsystems --action=add
    udevadm trigger --type=devices --action=add
    udevadm settle --timeout=10
    /usr/lib/vmcore-encrypt/save
    echo b > /proc/sysrq-trigger
fi
