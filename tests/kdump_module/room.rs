//! Old dumps beside a new one: which go, when, and which never. By `save` and `debian-dump`.

use crate::jail::Jail;
use std::fs;
use std::time::{Duration, SystemTime};

const SAVE: &str = "/usr/lib/vmcore-encrypt/save";
const CRASH: &str = "/run/vmcore-encrypt/target/crash";
const DUMP: &str = "/usr/lib/vmcore-encrypt/debian-dump";

fn prepare(jail: &Jail, keep: u32) {
    jail.write("/dev/sda1", "");
    let config = format!("TARGET=file\nDEVICE=/dev/sda1\nFSTYPE=ext4\nKEEP={keep}\n");
    jail.write("/etc/vmcore-encrypt/config", &config);
}

/// A file of an old dump, so many minutes old.
fn old(jail: &Jail, path: &str, minutes: u64) {
    jail.write(path, "old");
    let time = SystemTime::now() - Duration::from_secs(60 * minutes);
    fs::File::open(jail.path(path)).unwrap().set_modified(time).unwrap();
}

/// Directories of old dumps that are left; those of a new one begin with this century's date.
fn left(jail: &Jail, directory: &str) -> Vec<String> {
    let mut left: Vec<String> = jail
        .files(directory)
        .iter()
        .filter(|file| {
            let path = jail.path(directory).join(file);
            !path.is_symlink() && fs::read(path).unwrap() == b"old"
        })
        .map(|file| file.split('/').next().unwrap().to_owned())
        .collect();
    left.dedup();
    left
}

fn new_dumps(jail: &Jail, directory: &str) -> usize {
    let files = jail.files(directory);
    files
        .iter()
        .filter(|file| file.ends_with("age") && file.contains("vmcore.") | file.contains("/dump."))
        .count()
        - left(jail, directory).len()
}

/// `df` that shows `with` KiB while a directory is there, `without` when it is gone.
fn df(jail: &Jail, directory: &str, with: u64, without: u64) {
    let script = format!(
        "#!/bin/sh\necho Filesystem\nfree={without}\n[ ! -e {directory} ] || free={with}\n\
         echo \"//server/a share name 2000000 500000 $free 25% /run/vmcore-encrypt/target\"\n"
    );
    jail.script("/bin/df", &script);
}

#[test]
fn the_last_good_dump_stays_until_the_new_one_is_whole() {
    for end in ["exit 1", "exit 7", "exit 28", "kill -9 $$"] {
        Jail::each(|jail| {
            prepare(jail, 1);
            old(jail, &format!("{CRASH}/2020-01-01-10-00-00/vmcore.age"), 5);
            jail.write("/stub/collector", &format!("for last; do :; done; echo half > \"$last\"; {end}\n"));
            jail.run(SAVE);
            assert_eq!(left(jail, CRASH), ["2020-01-01-10-00-00"], "{end}");
        });
    }
}

#[test]
fn a_whole_dump_replaces_what_was_saved_first_whatever_its_name() {
    Jail::each(|jail| {
        prepare(jail, 2);
        old(jail, &format!("{CRASH}/2099-01-01-10-00-00/vmcore.age"), 9);
        old(jail, &format!("{CRASH}/2020-01-01-10-00-00/vmcore.age"), 5);
        old(jail, &format!("{CRASH}/2098-01-01-10-00-00/vmcore.age"), 7);
        jail.run(SAVE);
        assert_eq!(left(jail, CRASH), ["2020-01-01-10-00-00"]);
        assert_eq!(new_dumps(jail, CRASH), 1);
    });
}

#[test]
fn kdump_tools_never_loses_the_new_dump_to_a_clock_that_was_behind() {
    Jail::each(|jail| {
        for (count, stay) in [("1", &[] as &[&str]), ("2", &["29991231235959"]), ("002", &["29991231235959"])]
        {
            let _ = fs::remove_dir_all(jail.path("/var/crash"));
            jail.write("/etc/default/kdump-tools", &format!("KDUMP_NUM_DUMPS={count}\n"));
            old(jail, "/var/crash/29991231235959/dump.29991231235959.age", 3);
            old(jail, "/var/crash/201901010000/dump.201901010000", 4);
            jail.run(DUMP);
            assert_eq!(left(jail, "/var/crash"), stay, "{count}");
            assert_eq!(new_dumps(jail, "/var/crash"), 1, "{count}");
        }
    });
}

#[test]
fn the_new_dump_stays_also_when_an_old_one_is_from_the_future() {
    Jail::each(|jail| {
        jail.write("/etc/default/kdump-tools", "KDUMP_NUM_DUMPS=1\n");
        let path = "/var/crash/29991231235959/dump.29991231235959.age";
        jail.write(path, "old");
        let future = SystemTime::now() + Duration::from_secs(1 << 30);
        fs::File::open(jail.path(path)).unwrap().set_modified(future).unwrap();
        jail.run(DUMP);
        assert_eq!((left(jail, "/var/crash").len(), new_dumps(jail, "/var/crash")), (0, 1));
    });
}

#[test]
fn where_room_is_lacking_the_oldest_goes_first_and_only_as_many_as_must() {
    Jail::each(|jail| {
        prepare(jail, 4);
        for (day, minutes) in [("01", 9), ("02", 7), ("03", 5)] {
            old(jail, &format!("{CRASH}/2020-01-{day}-10-00-00/vmcore.age"), minutes);
        }
        df(jail, &format!("{CRASH}/2020-01-01-10-00-00"), 50_000, 1_500_000);
        let said = crate::text(&jail.run(SAVE));
        assert_eq!(left(jail, CRASH), ["2020-01-02-10-00-00", "2020-01-03-10-00-00"], "{said}");
        assert_eq!(new_dumps(jail, CRASH), 1, "{said}");
        let limit = 1_500_000 * 1024 - 64 * 1_048_576;
        assert_eq!(jail.calls(&format!("vmcore-encrypt -d 31 --keep-incomplete -L {limit} ")), 1);
    });
}

#[test]
fn the_last_good_one_does_not_go_for_a_dump_that_has_no_room_even_so() {
    Jail::each(|jail| {
        prepare(jail, 2);
        old(jail, &format!("{CRASH}/2020-01-01-10-00-00/vmcore.age"), 9);
        old(jail, &format!("{CRASH}/2020-01-02-10-00-00/vmcore.age-incomplete"), 5);
        jail.write("/stub/df", "/dev/sda1 2000000 1950000 50000 98% /run/vmcore-encrypt/target\n");
        jail.run(SAVE);
        assert_eq!(left(jail, CRASH), ["2020-01-01-10-00-00"]);
        assert_eq!(jail.calls("vmcore-encrypt"), 0);
        assert_eq!(jail.log().last().unwrap(), "reboot -f");
    });
}

/// The dump fills the room beside the old one; with `KEEP=1` it gets the room of that.
#[test]
fn one_dump_is_all_that_fits() {
    Jail::each(|jail| {
        prepare(jail, 1);
        let first = format!("{CRASH}/2020-01-01-10-00-00");
        old(jail, &format!("{first}/vmcore.age"), 9);
        let script = format!(
            "#!/bin/sh\necho Filesystem\nfree=1000000\n[ ! -e {first} ] || free=400000\n\
             [ ! -e /full ] || free=66000\necho \"/dev/sda1 2000000 500000 $free 25% /mnt\"\n"
        );
        jail.script("/bin/df", &script);
        // Cut by its limit while the old one is there.
        let cut = format!(
            "for last; do :; done
            if [ \"$1\" != dmesg ] && [ -e {first} ]; then echo cut > \"$last\"; echo more > \"$last.001\"; echo > /full; exit 7; fi
            rm -f /full\n"
        );
        jail.write("/stub/collector", &cut);
        let said = crate::text(&jail.run(SAVE));
        assert_eq!(left(jail, CRASH), Vec::<String>::new(), "{said}");
        let files = jail.files(CRASH);
        let names: Vec<_> = files.iter().map(|file| file.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["dmesg.age", "vmcore.age"], "{said}");
        assert_eq!(jail.calls("vmcore-encrypt -d 31"), 2);
        assert_eq!(jail.calls("vmcore-encrypt dmesg"), 1);
        jail.assert_no_plaintext();
    });
}

#[test]
fn with_all_to_be_kept_none_goes_for_room() {
    Jail::each(|jail| {
        prepare(jail, 0);
        old(jail, &format!("{CRASH}/2020-01-01-10-00-00/vmcore.age"), 9);
        old(jail, &format!("{CRASH}/2020-01-02-10-00-00/vmcore.age"), 5);
        jail.write("/stub/df", "/dev/sda1 2000000 1950000 50000 98% /run/vmcore-encrypt/target\n");
        jail.run(SAVE);
        assert_eq!(left(jail, CRASH).len(), 2);
    });
}

#[test]
fn free_space_that_cannot_be_read_is_none() {
    for line in
        ["nonsense\n", "", "/dev/sda1 - - - - /mnt\n", "/dev/sda1 2 1 9223372036854775807000 1% /mnt\n"]
    {
        Jail::each(|jail| {
            prepare(jail, 0);
            jail.write("/stub/df", line);
            jail.run(SAVE);
            let huge = line.contains("9223372036854775807000");
            assert_eq!(jail.calls("vmcore-encrypt -d 31") == 1, huge, "{line}");
            assert_eq!(jail.log().last().unwrap(), "reboot -f");
        });
    }
}

/// In a directory that others can write to, theirs neither count nor go.
#[test]
fn directories_of_others_and_links_are_left_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    Jail::each(|jail| {
        jail.write("/etc/default/kdump-tools", "KDUMP_NUM_DUMPS=2\n");
        old(jail, "/var/crash/202001010000/dump.202001010000.age", 9);
        for name in ["20990101", "20990102", "20990103"] {
            old(jail, &format!("/var/crash/{name}/dump.{name}.age"), 1);
            std::os::unix::fs::chown(jail.path(&format!("/var/crash/{name}")), Some(65534), None).unwrap();
        }
        jail.write("/precious/file", "");
        std::os::unix::fs::symlink("/precious", jail.path("/var/crash/2001")).unwrap();
        jail.run(DUMP);
        assert!(left(jail, "/var/crash").contains(&"202001010000".to_owned()));
        assert_eq!(left(jail, "/var/crash").len(), 4);
        assert_eq!(jail.files("/precious"), ["file"]);
        assert_eq!(new_dumps(jail, "/var/crash"), 1);
    });
}
