//! Whoever had the disk may have written the partition, and others may have been in the directory first: nothing of
//! theirs is followed, replaced or taken for the copy.

use super::place::{AGE, ID, Place, content, frame, remove};
use crate::common::{encrypt, succeed};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

fn place(name: &str) -> Place {
    Place::new(name, content(600_000))
}

#[test]
fn a_dump_is_collected_once() {
    let place = place("once");
    let (status, said) = place.collect(&[]);
    assert!(status == 0 && said.contains("is collected to") && place.is_freed(), "{said}");
    assert!(fs::read(place.file(".age")).unwrap() == place.data);
    assert_eq!(fs::metadata(place.file(".age")).unwrap().permissions().mode() & 0o777, 0o600);
    place.write(&frame(&place.data, true));
    let (status, said) = place.collect(&[]);
    assert!(status == 0 && said.contains("is already in") && place.is_freed(), "{said}");
    assert_eq!(place.names().len(), 1);
    remove(&place.dir);
}

#[test]
fn the_copy_is_for_its_owner_alone_whatever_the_umask() {
    let place = place("umask");
    for umask in ["0", "022", "077", "0777"] {
        place.write(&frame(&place.data, true));
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(encrypt().get_program());
        sh.arg("collect").arg("--device").arg(&place.device).arg("--dest").arg(place.dest.join(umask));
        succeed(&mut sh);
        for (path, mode) in [
            (place.dest.join(umask), 0o700),
            (place.dest.join(umask).join(format!("vmcore-{ID}.age")), 0o600),
        ] {
            let found = fs::metadata(&path).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, mode, "umask {umask}: {}", path.display());
            assert_eq!(found.uid(), rustix::process::geteuid().as_raw(), "umask {umask}");
        }
    }
    remove(&place.dir);
}

#[test]
fn what_has_the_name_and_is_not_the_dump_stays_beside_it() {
    let place = place("taken");
    let mut nearly = place.data.clone();
    nearly[300_000] ^= 1;
    let target = place.dir.join("precious");
    fs::write(&target, "precious").unwrap();
    let plants: [(&str, &dyn Fn()); 6] = [
        ("an empty file", &|| fs::write(place.file(".age"), "").unwrap()),
        ("a file of the same length", &|| fs::write(place.file(".age"), &nearly).unwrap()),
        ("a directory", &|| fs::create_dir(place.file(".age")).unwrap()),
        ("a link", &|| symlink(&target, place.file(".age")).unwrap()),
        ("a broken link", &|| symlink("nowhere", place.file(".age")).unwrap()),
        ("a pipe", &|| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                place.file(".age"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )
            .unwrap();
        }),
    ];
    for (what, plant) in plants {
        place.write(&frame(&place.data, true));
        fs::create_dir(&place.dest).unwrap();
        plant();
        // The old release's name for an unfinished copy, led elsewhere.
        symlink(&target, place.file(".age.copying")).unwrap();
        let (status, said) = place.collect(&[]);
        assert!(status == 0 && place.is_freed(), "{what}: {said}");
        assert!(fs::read(place.file("-2.age")).unwrap() == place.data, "{what}");
        assert_eq!(place.names(), [format!("vmcore-{ID}-2.age"), format!("vmcore-{ID}.age")], "{what}");
        assert_eq!(fs::read(&target).unwrap(), b"precious", "{what}");
        fs::remove_dir_all(&place.dest).unwrap();
    }
    remove(&place.dir);
}

#[test]
fn what_is_no_age_file_is_not_taken() {
    let place = place("content");
    let armored = b"-----BEGIN AGE ENCRYPTED FILE-----\n".repeat(99);
    for content in
        [b"root::0:0::/:/bin/sh\n".to_vec(), armored, AGE[..40].into(), b"age-encryption.org/v1\n".to_vec()]
    {
        let device = frame(&content, true);
        place.write(&device);
        for options in [&[][..], &["--free-damaged"]] {
            let (status, said) = place.collect(options);
            assert!(status == 4 && said.contains("no age file"), "{said}");
            assert!(place.names().is_empty() && fs::read(&place.device).unwrap() == device);
        }
    }
    remove(&place.dir);
}

#[test]
fn a_directory_of_others_is_refused() {
    let place = place("directory");
    let device = fs::read(&place.device).unwrap();
    let refused = |what: &str| {
        let (status, said) = place.collect(&[]);
        assert!(status == 1 && said.contains("opening directory"), "{what}: {said}");
        assert!(fs::read(&place.device).unwrap() == device, "{what}");
    };
    fs::create_dir(&place.dest).unwrap();
    for mode in [0o777, 0o1777, 0o775] {
        for others in [&place.dest, &place.dir] {
            fs::set_permissions(others, Permissions::from_mode(mode)).unwrap();
            refused(&format!("{mode:o}"));
            fs::set_permissions(others, Permissions::from_mode(0o755)).unwrap();
        }
    }
    if chown(&place.dest, Some(65534), None).is_ok() {
        refused("another owner");
        chown(&place.dest, Some(0), None).unwrap();
    }
    fs::rename(&place.dest, place.dir.join("real")).unwrap();
    symlink("real", &place.dest).unwrap();
    refused("a link");
    assert!(fs::read_dir(place.dir.join("real")).unwrap().next().is_none());
    fs::remove_file(&place.dest).unwrap();
    fs::write(&place.dest, "").unwrap();
    refused("a file");
    remove(&place.dir);
}

#[test]
fn the_reserve_stays_free() {
    let place = place("reserve");
    let device = fs::read(&place.device).unwrap();
    for reserve in ["1E", "15E"] {
        let (status, said) = place.collect(&["--reserve", reserve]);
        assert!(status == 1 && said.contains("hint: it takes 586 KiB"), "{said}");
        assert!(place.names().is_empty() && fs::read(&place.device).unwrap() == device);
    }
    assert_eq!(place.collect(&["--reserve", "x"]).0, 2);
    assert_eq!(place.collect(&["--reserve", "0M"]).0, 0);
    remove(&place.dir);
}

#[test]
fn what_an_interrupted_run_left_goes() {
    let place = place("left");
    fs::create_dir(&place.dest).unwrap();
    let other = place.dest.join("vmcore-08080808080808080808080808080808.age.copying-0123456789abcdef");
    fs::write(&other, "another dump's").unwrap();
    fs::write(place.file(".age.copying-0123456789abcdef"), "half").unwrap();
    assert_eq!(place.collect(&[]).0, 0);
    assert_eq!(place.names().len(), 2);
    assert!(other.exists() && place.file(".age").exists());
    remove(&place.dir);
}
