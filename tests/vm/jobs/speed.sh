# Times collectors on one crash, each writing to a file on the first disk, which must hold an ext4: lines
# "LAB: speed NAME USER SYSTEM REAL BYTES", times in seconds. /lab/speed has a NAME and a command per line; the
# command gets the vmcore and the dump file.
set -e
mount -t ext4 /dev/vdb /mnt
for round in 1 2 3; do
    while read -r name command; do
        echo 3 > /proc/sys/vm/drop_caches
        # shellcheck disable=SC2086 # a command with its options
        busybox time -p $command /proc/vmcore /mnt/dump > /tmp/words 2> /tmp/times || cat /tmp/words /tmp/times
        words=$(tail -n 3 /tmp/times | tr '\n' ' ')
        # shellcheck disable=SC2086 # "real R user U sys S", cut into words
        set -- $words
        echo "LAB: speed $name $4 $6 $2 $(stat -c %s /mnt/dump)"
        rm -f /mnt/dump
    done < /lab/speed
    echo "LAB: round $round"
done
