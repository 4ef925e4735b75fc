//! VMCOREINFO with numbers that cannot be a kernel's, and cut anywhere.

use crate::common::faulty::Faulty;
use crate::common::pages::{collect, restore};
use crate::machine::Machine;
use crate::readers::Kdump;
use crate::synth::{arch, kernel, zoo};
use vmcore_encrypt::filter::{Classifier, DumpLevel, PageClass};
use vmcore_encrypt::vmcore::Vmcore;

/// Lines that are longer than before push the first ones, which nobody needs, out of the text.
fn rewritten(machine: &Machine, key: &str, value: &str) -> Faulty {
    let text = &machine.core.vmcoreinfo;
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((known, _)) if known == key => format!("{key}={value}\n"),
        _ => format!("{line}\n"),
    });
    let new: String = lines.filter(|line| !line.starts_with("BUILD-ID")).collect();
    let mut bytes = new.into_bytes();
    assert!(bytes.len() <= text.len());
    bytes.resize(text.len(), 0);
    machine.source().patch(machine.text_at(), &bytes)
}

const ABSURD: [&str; 12] = [
    "0",
    "1",
    "-1",
    "7",
    "63",
    "64",
    "4096",
    "ffffffffffffffff",
    "2147483648",
    "9223372036854775807",
    "",
    "x\\",
];

/// Whatever any number says: nothing ends, nothing hangs, and what is in the dump is what was in memory.
#[test]
fn absurd_numbers_end_no_dump() {
    let machine = Machine::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = machine.core.vmcoreinfo.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key);
    for (n, key) in keys.filter(|key| *key != "BUILD-ID").enumerate() {
        for (m, value) in ABSURD.into_iter().enumerate() {
            let vmcore = Vmcore::from_source(Box::new(rewritten(&machine, key, value))).unwrap();
            let (mut classifier, _) = Classifier::new(&vmcore, DumpLevel::new(31).unwrap());
            while classifier.next_window().is_some() {}
            // One value of each key goes the whole way.
            if n % ABSURD.len() == m {
                let dump = collect(&vmcore, 31).unwrap_or_else(|error| panic!("{key}={value}: {error}"));
                restore(&dump.bytes, Some(file.path()));
                machine.compare(&Kdump::open(file.path()), &format!("{key}={value}"));
            }
        }
    }
}

/// A structure of another size than the kernel's is no structure.
#[test]
fn a_page_structure_that_does_not_fit_keeps_every_page() {
    let machine = Machine::new();
    for size in ["0", "8", "24", "63", "65", "1000000", "-64"] {
        let dump = machine.check(rewritten(&machine, "SIZE(page)", size), 31, &machine.with_data());
        assert_eq!(dump.pages.unjudged, machine.with_data().len() as u64, "{size}");
    }
}

/// A text that outgrew its page lost keys; no page may go that would stay with them.
#[test]
fn vmcoreinfo_cut_anywhere_excludes_nothing_that_should_stay() {
    for kernel in kernel::all() {
        let machine = Machine::of(zoo::zoo(arch::x86_64::five_level(), kernel));
        let kept = machine.kept(31);
        for order in 0..3 {
            let text = reordered(&machine.core.vmcoreinfo, order);
            for cut in (0..text.len()).step_by(173) {
                let mut bytes = text.as_bytes()[..cut].to_vec();
                // Never at the end of a line: a cut that shows.
                bytes.push(b'N');
                bytes.resize(machine.core.vmcoreinfo.len(), 0);
                let source = machine.source().patch(machine.text_at(), &bytes);
                let vmcore = Vmcore::from_source(Box::new(source)).unwrap();
                let lost: Vec<_> =
                    excluded(&vmcore).into_iter().filter(|(pfn, _)| kept.contains(pfn)).collect();
                let (release, end) = (machine.core.kernel.release, &text[cut.saturating_sub(60)..cut]);
                assert!(lost.is_empty(), "{release}, order {order}, behind {end:?}: {lost:x?}");
            }
        }
    }
}

/// Keys that not every configuration prints: their absence alone tells nothing.
const OPTIONAL: [&str; 2] = ["NUMBER(PG_hwpoison)", "NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)"];

/// A key that is not there means that its class cannot be told, not that the kernel is an old one: no page goes that
/// would stay with the key, and where more stay a warning names a key.
#[test]
fn a_missing_key_never_leaves_out_more() {
    let mut checked = 0;
    for kernel in kernel::all() {
        checked += check_each_key(Machine::of(zoo::zoo(arch::x86_64::five_level(), kernel)));
    }
    assert!(checked > 9 * 40, "{checked} keys");
}

#[test]
fn a_missing_key_of_an_architecture_never_leaves_out_more() {
    for (_, arch) in arch::all().into_iter().filter(|(_, arch)| arch.page() == 4096) {
        check_each_key(Machine::of(zoo::zoo(arch, kernel::v7_1())));
    }
}

fn check_each_key(machine: Machine) -> usize {
    let (release, arch) = (machine.core.kernel.release, machine.core.arch.name);
    let text = &machine.core.vmcoreinfo;
    let whole = excluded(&Vmcore::from_source(Box::new(machine.source())).unwrap());
    assert!(whole.len() > 100, "{release}, {arch}");
    let keys: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for key in &keys {
        let without = |line: &&str| line.split_once('=').is_none_or(|(known, _)| known != *key);
        let mut bytes: Vec<u8> =
            text.lines().filter(without).flat_map(|line| [line, "\n"].concat().into_bytes()).collect();
        bytes.resize(text.len(), 0);
        let vmcore =
            Vmcore::from_source(Box::new(machine.source().patch(machine.text_at(), &bytes))).unwrap();
        let found = excluded(&vmcore);
        let more: Vec<_> = found.iter().filter(|page| !whole.iter().any(|(pfn, _)| *pfn == page.0)).collect();
        assert!(more.is_empty(), "{release}, {arch}, without {key}: {more:x?}");
        let (_, warnings) = Classifier::new(&vmcore, DumpLevel::ALL);
        if found.len() < whole.len() && !OPTIONAL.contains(key) {
            assert!(
                !warnings.is_empty(),
                "{release}, {arch}, without {key}: {} pages more",
                whole.len() - found.len()
            );
        }
    }
    keys.len()
}

/// The lines in another order, each of these different; page size and release stay in front.
fn reordered(text: &str, order: usize) -> String {
    let (front, mut rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("PAGESIZE") || line.starts_with("OSRELEASE"));
    match order {
        0 => {}
        1 => rest.reverse(),
        _ => rest
            .sort_by_key(|line| line.bytes().fold(order, |hash, byte| hash * 31 % 9973 + usize::from(byte))),
    }
    front.into_iter().chain(rest).map(|line| format!("{line}\n")).collect()
}

/// Pages that the classifier leaves out at level 31.
fn excluded(vmcore: &Vmcore) -> Vec<(u64, PageClass)> {
    let (mut classifier, _) = Classifier::new(vmcore, DumpLevel::new(31).unwrap());
    let mut all = Vec::new();
    while let Some(window) = classifier.next_window() {
        let pages = (window.range.start.0..).zip(window.classes.iter().copied());
        all.extend(
            pages.filter(|(_, c)| !matches!(c, PageClass::Kept | PageClass::Hole | PageClass::NoData)),
        );
    }
    all
}
