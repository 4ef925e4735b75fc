# Copies /proc/vmcore as it is to the first disk; capture.sh cuts the disk to the size told here.
set -e
echo "LAB: vmcore size $(stat -c %s /proc/vmcore)"
dd if=/proc/vmcore of=/dev/vdb bs=1M
