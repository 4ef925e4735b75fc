//! A dump whose partition was damaged: all that can be read is copied to its place, the file's name and the exit status
//! tell, and the partition stays.

use super::place::{Place, SIZE, content, frame, is_zero, remove};
use crate::common::{encrypt, or_skip, run, text};
use std::fs;
use std::process::Command;
use vmcore_encrypt::unstable::raw::{HEADER_LEN, RECORD_DATA, RECORD_LEN};

const START: usize = 2 * HEADER_LEN;
const HEAD: usize = 48;
const DATA: usize = 5 * RECORD_DATA + 70_000;

fn place(name: &str) -> (Place, Vec<u8>) {
    let place = Place::new(name, content(DATA));
    let good = frame(&place.data, true);
    (place, good)
}

#[test]
fn a_damaged_record_is_copied_as_it_is_and_the_partition_stays() {
    let (place, good) = place("damaged");
    for record in 0..6 {
        for at in [0, 9, 12, 20, 33, 40, 45, HEAD + 9000] {
            let mut damaged = good.clone();
            damaged[START + record * RECORD_LEN + at] ^= 1;
            place.write(&damaged);
            let (status, said) = place.collect(&[]);
            let what = format!("record {record}, byte {at}: {said}");
            assert!(status == 4 && said.contains("1 records are damaged"), "{what}");
            assert_eq!(place.names(), [format!("vmcore-{}-incomplete.age", super::place::ID)], "{what}");
            let mut expected = place.data.clone();
            if at > HEAD {
                expected[record * RECORD_DATA + at - HEAD] ^= 1;
            }
            assert!(fs::read(place.file("-incomplete.age")).unwrap() == expected, "{what}");
            assert!(fs::read(&place.device).unwrap() == damaged, "{what}");
            // Once more it is there already; freed only when asked.
            let (status, said) = place.collect(&[]);
            assert!(status == 4 && said.contains("is already in") && place.names().len() == 1, "{said}");
            let (status, said) = place.collect(&["--free-damaged"]);
            assert!(status == 4 && place.is_freed() && place.names().len() == 1, "{said}");
            fs::remove_dir_all(&place.dest).unwrap();
        }
    }
    remove(&place.dir);
}

#[test]
fn a_damaged_header_costs_nothing() {
    let (place, good) = place("header");
    let old = frame(&place.data, false);
    for (device, has_copy) in [(&good, true), (&old, false)] {
        for at in (0..68).chain([5000]) {
            let mut damaged = device.clone();
            damaged[at] ^= 2;
            place.write(&damaged);
            let (status, said) = place.collect(&[]);
            assert!(status == 0 && said.contains("header of the dump"), "byte {at}: {said}");
            assert!(fs::read(place.file(".age")).unwrap() == place.data, "byte {at}");
            if has_copy || at < 5000 {
                assert!(place.is_freed(), "byte {at}: {said}");
            }
            assert!(place.collect(&[]).1.contains("note: no dump is on"), "byte {at}");
            fs::remove_dir_all(&place.dest).unwrap();
        }
    }
    // All of it, where there is a copy.
    let mut damaged = good;
    damaged[..HEADER_LEN].fill(0);
    place.write(&damaged);
    assert_eq!(place.collect(&[]).0, 0);
    assert!(place.is_freed() && fs::read(place.file(".age")).unwrap() == place.data);
    remove(&place.dir);
}

#[test]
fn what_was_swapped_out_does_not_get_into_the_file() {
    let (place, good) = place("stale");
    let page = b"a password that was swapped out: correct horse battery staple. ".repeat(70);
    let mut damaged = good;
    // The write of record 2 never reached the disk.
    let lost = START + 2 * RECORD_LEN..START + 3 * RECORD_LEN;
    damaged[lost.clone()].chunks_mut(4096).for_each(|block| block.copy_from_slice(&page[..4096]));
    place.write(&damaged);
    let (status, said) = place.collect(&[]);
    assert!(status == 4 && said.contains("1 records are missing"), "{said}");
    let copied = fs::read(place.file("-incomplete.age")).unwrap();
    assert_eq!(copied.len(), DATA);
    assert!(is_zero(&copied[2 * RECORD_DATA..3 * RECORD_DATA]));
    assert!(copied[3 * RECORD_DATA..] == place.data[3 * RECORD_DATA..]);
    fs::remove_dir_all(&place.dest).unwrap();

    // A power cut tore the last record: swapped memory follows.
    damaged[lost.start + 5 * 4096..].chunks_mut(4096).for_each(|block| block.copy_from_slice(&page[..4096]));
    let head = frame(&place.data, true);
    damaged[lost.start..lost.start + 5 * 4096].copy_from_slice(&head[lost.start..lost.start + 5 * 4096]);
    place.write(&damaged);
    let (status, said) = place.collect(&[]);
    assert!(status == 7 && said.contains("it was cut"), "{said}");
    assert!(
        fs::read(place.file("-incomplete.age")).unwrap() == place.data[..2 * RECORD_DATA + 5 * 4096 - HEAD]
    );
    remove(&place.dir);
}

/// A record in the middle of which only the beginning was written: its head, sound or damaged, and then what was swapped
/// out.
#[test]
fn what_was_swapped_out_after_the_head_of_a_record_does_not_get_into_the_file() {
    let page = b"a password that was swapped out: correct horse battery staple. ".repeat(70);
    for (written, damage) in [(512, 0), (4096, 0), (5 * 4096, 0), (4096, 16), (5 * 4096, 1)] {
        let (place, good) = place("torn");
        let mut damaged = good;
        let torn = START + 2 * RECORD_LEN;
        let rest = torn + written..torn + RECORD_LEN;
        let stale: Vec<u8> = page.iter().copied().cycle().take(rest.len()).collect();
        damaged[rest].copy_from_slice(&stale);
        damaged[torn + 32 - damage..torn + 32].fill(0);
        place.write(&damaged);
        let (status, said) = place.collect(&[]);
        assert_eq!(status, 4, "{written} {damage}: {said}");
        let copied = fs::read(place.file("-incomplete.age")).unwrap();
        assert!(!copied.windows(32).any(|window| window == &page[..32]), "{written} {damage}");
        // What reached the disk stays, in whole blocks, and so do the other records.
        let kept = (written - written % 4096).max(HEAD) - HEAD;
        let at = 2 * RECORD_DATA;
        assert!(copied[..at + kept] == place.data[..at + kept], "{written} {damage}");
        assert!(copied[3 * RECORD_DATA..] == place.data[3 * RECORD_DATA..], "{written} {damage}");
        remove(&place.dir);
    }
}

#[test]
fn a_cut_dump_is_freed_and_no_success() {
    let (place, good) = place("cut");
    let other = {
        let mut other = frame(&content(20 * RECORD_DATA), true);
        // An older dump's records: another id, with sums that are right for it.
        let header = vmcore_encrypt::unstable::raw::FrameHeader {
            id: [9; 16],
            device_size: SIZE,
            saved: super::place::swap(),
        };
        let mut writer = vmcore_encrypt::unstable::raw::FrameWriter::new(Vec::new(), &header);
        std::io::Write::write_all(&mut writer, &content(20 * RECORD_DATA)).unwrap();
        let older = writer.finish().unwrap();
        other[..older.len()].copy_from_slice(&older);
        other
    };
    for rest in [vec![0; good.len()], other] {
        let cut = START + 3 * RECORD_LEN;
        place.write(&[&good[..cut], &rest[cut..]].concat());
        let (status, said) = place.collect(&[]);
        assert!(status == 7 && said.contains("it was cut"), "{said}");
        assert!(fs::read(place.file("-incomplete.age")).unwrap() == place.data[..3 * RECORD_DATA]);
        assert!(place.is_freed());
        fs::remove_dir_all(&place.dest).unwrap();
    }
    // A header alone.
    place.write(&[&good[..START], &vec![0; good.len() - START][..]].concat());
    let (status, said) = place.collect(&[]);
    assert!(status == 7 && said.contains("it has no data") && place.names().is_empty(), "{said}");
    // A damaged end record is no cut.
    let mut damaged = good;
    damaged[START + 5 * RECORD_LEN + HEAD + 70_000 + 3] ^= 1;
    place.write(&damaged);
    let (status, said) = place.collect(&[]);
    assert!(status == 4 && !place.is_freed(), "{said}");
    assert!(fs::read(place.file("-incomplete.age")).unwrap() == place.data);
    remove(&place.dir);
}

/// Each read of the device fails once, and with it the next one, which tries a smaller piece.
#[test]
fn what_cannot_be_read_is_zeros_in_its_place() {
    let traces = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output()
        .is_ok_and(|ran| ran.status.success());
    let found =
        traces.then_some(()).ok_or(crate::common::Absent("strace, or permission to trace".to_owned()));
    let Some(()) = or_skip(found) else { return };
    let (place, good) = place("unreadable");
    let (mut partly, mut whole) = (0, 0);
    for nth in 1..60 {
        place.write(&good);
        let mut strace = Command::new("strace");
        strace.args(["-o", "/dev/null", "-e", "trace=pread64", "-P"]).arg(&place.device);
        strace
            .args(["-e", &format!("inject=pread64:error=EIO:when={nth}..{}", nth + 1)])
            .arg(encrypt().get_program());
        strace.arg("collect").arg("--device").arg(&place.device).arg("--dest").arg(&place.dest);
        let output = run(&mut strace);
        let said = text(&output.stderr);
        match output.status.code() {
            Some(0) => {
                whole += 1;
                assert!(fs::read(place.file(".age")).unwrap() == place.data, "{nth}");
            }
            Some(4) if said.contains("bytes cannot be read") => {
                partly += 1;
                let copied = fs::read(place.file("-incomplete.age")).unwrap();
                assert_eq!(copied.len(), DATA, "{nth}");
                let differ = copied.iter().zip(&place.data).filter(|(one, other)| one != other);
                assert!(differ.count() <= 4096 && fs::read(&place.device).unwrap() == good, "{nth}: {said}");
            }
            Some(1 | 4) => assert!(fs::read(&place.device).unwrap() == good, "{nth}: {said}"),
            status => panic!("{nth}: {status:?}: {said}"),
        }
        let _ = fs::remove_dir_all(&place.dest);
    }
    assert!(partly >= 5 && whole >= 5, "{partly} partly, {whole} whole");
    remove(&place.dir);
}
