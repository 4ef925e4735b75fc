# /etc/kdump.conf: dump to /boot (ext4 or xfs), which is plain on a machine with an encrypted root.
# Before: mkdir -p /boot/crash. -L keeps a dump from filling /boot. For xfs write "xfs UUID=...".
ext4 UUID=00000000-0000-0000-0000-000000000000
path /crash
core_collector vmcore-encrypt -d 31 -L 600M --keep-incomplete --warnings-exit-0
failure_action reboot
