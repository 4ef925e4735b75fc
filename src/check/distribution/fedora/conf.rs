//! `/etc/kdump.conf` as kdump-utils reads it: comments, one pair of quotes, the last of several lines.

use super::super::super::collector::Goal;
use super::super::super::findings::Findings;
use super::super::{CHECK, Place, View};
use super::CONF;
use std::collections::BTreeSet;
use std::io;

const FILE_SYSTEMS: [&str; 7] = ["ext2", "ext3", "ext4", "minix", "btrfs", "xfs", "virtiofs"];
/// Blanks as the shell's `read` knows them.
const BLANKS: [char; 2] = [' ', '\t'];
/// White space as grep's `\s` knows it.
const SPACES: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];

/// A line that sets something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its number, counted from 1.
    pub(super) line: usize,
    /// Its first word.
    pub(super) key: String,
    /// The rest.
    pub(super) value: String,
}

impl Setting {
    /// The line as findings name it.
    pub(super) fn place(&self) -> String {
        format!("{CONF}, line {}", self.line)
    }
}

/// The configuration.
pub(super) struct Conf(Vec<Setting>);

impl Conf {
    pub(super) fn read(view: &View<'_>) -> io::Result<Conf> {
        let text = view.machine.read(CONF)?;
        Ok(Conf::parse(&text, view.place))
    }

    /// Source: kdump-utils `kdump-lib-initramfs.sh`, `kdump_get_conf_val`. An image has the file as its builder read
    /// it, and the capture kernel reads that once more: a machine's file is read twice.
    pub(super) fn parse(text: &str, place: Place) -> Conf {
        let lines = text.split('\n').enumerate();
        let settings = lines.filter_map(|(at, line)| {
            let visible = line.trim_start_matches(SPACES);
            if visible.is_empty() || visible.starts_with('#') {
                return None;
            }
            let line = line.trim_matches(BLANKS);
            let (key, rest) = line.split_once(BLANKS).unwrap_or((line, ""));
            let once = value(rest);
            let value = match place {
                Place::Machine => value(&once),
                Place::Image => once,
            };
            Some(Setting { line: at + 1, key: key.to_owned(), value })
        });
        Conf(settings.collect())
    }

    /// The last line that fits.
    pub(super) fn find(&self, fits: impl Fn(&Setting) -> bool) -> Option<&Setting> {
        self.0.iter().rev().find(|line| fits(line))
    }

    /// The line of a key that counts: the last one with a value.
    pub(super) fn last(&self, key: &str) -> Option<&Setting> {
        self.find(|line| line.key == key && !line.value.is_empty())
    }

    /// The line that names the target; none for the root file system.
    pub(super) fn target(&self) -> Option<&Setting> {
        self.find(|line| {
            let is_file_system = FILE_SYSTEMS.contains(&&*line.key);
            let is_mount = line.key == "dracut_args" && mount(&line.value).is_some();
            is_file_system || is_mount || matches!(&*line.key, "nfs" | "raw" | "ssh")
        })
    }

    /// Where the dump goes.
    pub(super) fn goal(&self) -> Goal {
        match self.target().map(|line| (&*line.key, &*line.value)) {
            Some(("raw", device)) => Goal::Raw(device.to_owned()),
            Some(("ssh" | "nfs" | "virtiofs", _)) => Goal::Remote,
            Some(("dracut_args", words)) => match mount(words) {
                Some((_, kind)) if kind.starts_with("nfs") => Goal::Remote,
                Some((device, _)) => Goal::OnDevice(device.to_owned()),
                None => Goal::Unknown,
            },
            Some((_, device)) => Goal::OnDevice(device.to_owned()),
            None => Goal::Directory(self.last("path").map_or("/var/crash", |line| &line.value).to_owned()),
        }
    }

    /// Lines that different shells, or kdumpctl and kdump.sh, take in different ways.
    pub(super) fn check_form(&self, findings: &mut Findings) {
        let mut seen = BTreeSet::new();
        for line in &self.0 {
            let place = line.place();
            if line.value.contains('\\') && !is_escaped_by_udev(&line.value) {
                let text = format!("{place}: a backslash: shells read it in different ways");
                findings.problem(CHECK, text, "write the line without it");
            }
            // kdump.sh evaluates these values as shell.
            let evaluated = FILE_SYSTEMS.contains(&&*line.key)
                || matches!(&*line.key, "raw" | "ssh" | "nfs" | "sshkey" | "path");
            if evaluated && line.value.contains(['\'', '"', '$', '`', ';', '&', '|', '<', '>', '(', ')']) {
                let text = format!("{place}: characters that kdump.sh runs as shell in {}", line.key);
                findings.problem(CHECK, text, "write the value without quotes and shell characters");
            }
            if line.key == "dracut_args" && omits_our_module(&line.value) {
                let text = format!("{place}: dracut_args leaves our dracut module out");
                findings.problem(CHECK, text, "take vmcore-encrypt out of --omit");
            }
            let key = if line.key == "default" { "failure_action" } else { &line.key };
            if !seen.insert(key.to_owned()) {
                let text = format!("{place}: {key} is there twice: kdumpctl does not start with that");
                findings.warning(CHECK, text, "keep one of the lines");
            }
        }
    }
}

/// The value of a line: blanks around it, a comment, and one pair of quotes go.
fn value(rest: &str) -> String {
    let rest = rest.trim_matches(BLANKS);
    let bare = match rest.split_once('#') {
        Some((before, _)) => before.trim_end_matches(SPACES),
        None => rest,
    };
    let inner = bare.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
    // The reader prints the line and another one reads it, which drops blanks that were in quotes.
    inner.unwrap_or(bare).trim_matches(BLANKS).to_owned()
}

/// Device and file system of `--mount "DEVICE DIRECTORY TYPE OPTIONS"`.
fn mount(words: &str) -> Option<(&str, &str)> {
    let (_, rest) = words.split_once("--mount")?;
    let mut words =
        rest.trim_start_matches(['=', ' ', '\t']).trim_start_matches(['"', '\'']).split_whitespace();
    Some((words.next()?, words.nth(1)?))
}

fn omits_our_module(words: &str) -> bool {
    words.split_once("--omit").is_some_and(|(_, rest)| rest.contains("vmcore-encrypt"))
}

/// udev writes `\x20` for a blank in names below /dev/disk.
fn is_escaped_by_udev(value: &str) -> bool {
    value.split('\\').skip(1).all(|rest| rest.starts_with('x'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str, key: &str, place: Place) -> Option<String> {
        Conf::parse(text, place).last(key).map(|line| line.value.clone())
    }

    #[test]
    fn values_are_those_of_the_scripts() {
        let collector = |text: &str| last(text, "core_collector", Place::Image).unwrap_or_default();
        let text = "#core_collector a\n \t# b\ncore_collector  vmcore-encrypt -d 1,31 -L 600M # why\n";
        assert_eq!(collector(text), "vmcore-encrypt -d 1,31 -L 600M");
        assert_eq!(collector("\t core_collector\tx\t-d 1 \t"), "x\t-d 1");
        assert_eq!(collector("core_collector a\ncore_collector b\ncore_collector\n"), "b");
        assert_eq!(collector("core_collector \" a b \""), "a b");
        assert_eq!(collector("core_collector \"a # b\""), "\"a", "the comment goes first");
        assert_eq!(collector("core_collector \"\"a\"\""), "\"a\"");
        assert_eq!(last("core_collector \"\"a\"\"", "core_collector", Place::Machine).unwrap(), "a");
        assert_eq!(collector("core_collector a\r"), "a\r");
        assert_eq!(last("paths /crash", "path", Place::Image), None);
    }

    #[test]
    fn a_mount_of_dracut_is_a_target() {
        let goal = |text: &str| Conf::parse(text, Place::Machine).goal();
        let text = "dracut_args --add-device /dev/a --mount \"/dev/a /esp vfat defaults\"";
        assert_eq!(goal(text), Goal::OnDevice("/dev/a".into()));
        assert_eq!(goal("dracut_args --mount \"h:/x /m nfs4 soft\""), Goal::Remote);
        assert_eq!(goal("dracut_args --add-device /dev/a"), Goal::Directory("/var/crash".into()));
    }
}
