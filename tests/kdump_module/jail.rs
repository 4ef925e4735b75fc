//! A capture kernel's root directory in small: one shell as `/bin/sh`, busybox for the tools an initramfs
//! has, stubs that write down how they were called, and a `/proc/vmcore` full of a marker.

use crate::common::{Absent, or_skip};
use crate::{as_root, module_dir};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// What stands in `/proc/vmcore`; no file written by a script may hold it.
pub(crate) const MARKER: &str = "plain-memory-of-the-crashed-kernel";

/// What the stub collector writes.
pub(crate) const ENCRYPTED: &str = "age-encryption.org/v1";

/// The shells found as `/bin/sh` in an initramfs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shell {
    Dash,
    Busybox,
    Bash,
}

/// Tools busybox stands in for. Not among them: cp, dd, scp, which have no business near a vmcore.
const APPLETS: &[&str] = &[
    "[", "cat", "chmod", "date", "echo", "find", "hostname", "kill", "ls", "mkdir", "mv", "rm", "sh", "sort",
    "sync",
];

/// Stubs that succeed.
const QUIET: &[&str] = &["cp", "dd", "ftpput", "modprobe", "mount", "scp", "sleep", "udevadm", "umount"];

/// Stubs that end the script.
const LEAVING: &[&str] = &["halt", "poweroff", "reboot"];

/// Writes its name and arguments to `/log`, one call per line.
const LOG_CALL: &str = "#!/bin/sh\necho \"${0##*/} $*\" >> /log\n";

/// Where the jail has the real command, for what scripts ask of it but dumps.
const PROGRAM: &str = "/stub/vmcore-encrypt";

/// The collector: dump to the last argument or to stdout, log likewise. `/stub/collector` is sourced first and
/// can fail or die instead. The configuration is read by the real program, unrecorded, after `/stub/config`.
const COLLECTOR: &str = r#"#!/bin/sh
if [ "$1" = config ]; then
    if [ -e /stub/config ]; then . /stub/config; fi
    exec /stub/vmcore-encrypt "$@"
fi
echo "vmcore-encrypt $*" >> /log
if [ -e /stub/collector ]; then . /stub/collector; fi
for last; do :; done
case "$*" in
    *--output-device* | *s3://* | *--presigned*) exit 0 ;;
    /proc/vmcore | *' /proc/vmcore') echo age-encryption.org/v1 ;;
    *) echo age-encryption.org/v1 > "$last" ;;
esac
"#;

/// Runs the remote command in `/remote`, as the other host would; `/stub/ssh` can break the link.
const SSH: &str = r#"#!/bin/sh
echo "ssh $*" >> /log
if [ -e /stub/ssh ]; then . /stub/ssh; fi
while :; do
    case $1 in
        -q) shift ;;
        -i | -o) shift 2 ;;
        *) break ;;
    esac
done
shift
cd /remote && exec sh -c "$*"
"#;

/// `/proc/net/route` of a machine without a default route, and the line of one.
pub(crate) const NO_ROUTE: &str =
    "Iface\tDestination\tGateway\tFlags\tRefCnt\neth0\t0002000A\t00000000\t0001\t0\n";
pub(crate) const ROUTE: &str = "eth0\t00000000\t0202000A\t0003\t0\n";

const DF: &str = "#!/bin/sh
echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'
cat /stub/df
";

/// Leaving: written down, then the script is over, as the machine would be.
const LEAVE: &str = "#!/bin/sh\necho \"${0##*/} $*\" >> /log\nkill -9 $PPID\n";

pub(crate) struct Jail {
    root: TempDir,
    pub shell: Shell,
}

impl Jail {
    /// Calls `test` once per shell this machine has.
    pub(crate) fn each(test: impl Fn(&Jail)) {
        for shell in [Shell::Dash, Shell::Busybox, Shell::Bash] {
            if let Some(jail) = Jail::new(shell) {
                test(&jail);
            }
        }
    }

    /// `None`, with the reason on stderr, where a part is not installed or root cannot be changed.
    fn new(shell: Shell) -> Option<Jail> {
        // Where the command is, so that a second name for it will do.
        let jail = Jail { root: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).ok()?, shell };
        jail.install_tools()?;
        jail.install_program();
        jail.install_stubs();
        jail.install_scripts();
        jail.write("/proc/vmcore", MARKER);
        jail.write("/dev/null", "");
        jail.write("/proc/mounts", "");
        jail.write("/proc/net/route", NO_ROUTE);
        jail.write("/stub/df", "/dev/sda1 2000000 500000 1500000 25% /run/vmcore-encrypt/target\n");
        jail.write("/etc/hostname.kdump", "host1\n");
        jail.write("/log", "");
        fs::create_dir_all(jail.path("/remote")).unwrap();
        let ran = jail.run("sync").status.success();
        or_skip(if ran { Ok(jail) } else { Err(Absent("the right to change root".into())) })
    }

    fn install_tools(&self) -> Option<()> {
        self.install_with_libraries(&or_skip(find("busybox"))?, "/bin/busybox");
        self.install_applets(APPLETS);
        match self.shell {
            Shell::Busybox => {}
            Shell::Dash => self.install_with_libraries(&or_skip(find("dash"))?, "/bin/sh"),
            Shell::Bash => self.install_with_libraries(&or_skip(find("bash"))?, "/bin/sh"),
        }
        Some(())
    }

    pub(crate) fn install_with_libraries(&self, program: &Path, target: &str) {
        self.copy(program, target);
        self.install_libraries(program);
    }

    fn install_libraries(&self, program: &Path) {
        let listed = Command::new("ldd").arg(program).output().unwrap();
        for word in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            if word.starts_with('/') {
                self.copy(Path::new(word), word);
            }
        }
    }

    /// The real command, and what it is linked to.
    fn install_program(&self) {
        let program = Path::new(env!("CARGO_BIN_EXE_vmcore-encrypt"));
        self.install_libraries(program);
        fs::create_dir_all(self.path("/stub")).unwrap();
        fs::hard_link(program, self.path(PROGRAM)).unwrap();
    }

    fn install_stubs(&self) {
        for quiet in QUIET {
            self.script(&format!("/bin/{quiet}"), LOG_CALL);
        }
        for leave in LEAVING {
            self.script(&format!("/bin/{leave}"), LEAVE);
        }
        self.script("/bin/blkid", "#!/bin/sh\ncat /stub/blkid\n");
        self.script(
            "/bin/ip",
            "#!/bin/sh\necho '2: eth0 inet 192.0.2.7/24 brd 192.0.2.255 scope global eth0'\n",
        );
        self.script("/bin/df", DF);
        self.script("/bin/ssh", SSH);
        self.script("/usr/bin/vmcore-encrypt", COLLECTOR);
    }

    fn install_scripts(&self) {
        let parts = ["lib/functions.sh", "lib/save", "debian/debian-dump", "suse/suse-transfer"];
        for part in parts {
            let name = part.rsplit('/').next().unwrap();
            self.copy(&module_dir().join(part), &format!("/usr/lib/vmcore-encrypt/{name}"));
        }
        self.put_stubs_before_applets();
    }

    fn put_stubs_before_applets(&self) {
        let functions = "/usr/lib/vmcore-encrypt/functions.sh";
        self.write(functions, &(self.read(functions) + &self.stub_functions()));
    }

    /// Shell functions that call the stubs. busybox sh takes its own mount before one in PATH; a function
    /// comes first. Empty for other shells.
    pub(crate) fn stub_functions(&self) -> String {
        let Shell::Busybox = self.shell else { return String::new() };
        let stubs = QUIET.iter().chain(LEAVING).chain(&["blkid", "df", "hostname", "ip"]);
        stubs.map(|name| format!("{name}() {{ /bin/{name} \"$@\"; }}\n")).collect()
    }

    /// Makes names in /bin busybox's own.
    pub(crate) fn install_applets(&self, applets: &[&str]) {
        for applet in applets {
            let path = self.path(&format!("/bin/{applet}"));
            let _ = fs::remove_file(&path);
            symlink("busybox", path).unwrap();
        }
    }

    pub(crate) fn copy(&self, from: &Path, to: &str) {
        self.write(to, "");
        fs::copy(from, self.path(to)).unwrap();
    }

    pub(crate) fn script(&self, path: &str, content: &str) {
        self.write(path, content);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Replaces the file, and never writes through a link: outside the jail it would mean another file.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.is_symlink() {
            fs::remove_file(&path).unwrap();
        }
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Runs a program of the jail without environment, stdin or working directory, as an initramfs does.
    pub(crate) fn run(&self, program: &str) -> Output {
        as_root("chroot")
            .arg(self.root.path())
            .args(["/bin/busybox", "env", "-i", "PATH=/bin:/usr/bin", program])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    }

    /// The calls of the stubs, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.read("/log").lines().map(str::to_owned).collect()
    }

    /// How often a stub was called with these first words.
    pub(crate) fn calls(&self, words: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(words)).count()
    }

    /// Files below a directory whose path ends so, relative to that directory, sorted.
    pub(crate) fn files(&self, directory: &str) -> Vec<String> {
        let top = self.path(directory);
        let mut found = Vec::new();
        let mut open = vec![top.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(path.strip_prefix(&top).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// The files of the jail, but for `/proc/vmcore`, that hold the marker. Must be none, whatever happened.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut files = self.files("/");
        files.retain(|file| {
            // a link names another file, outside the jail a file of this machine
            file != "proc/vmcore"
                && file != PROGRAM.trim_start_matches('/')
                && !self.path(file).is_symlink()
                && fs::read(self.path(file))
                    .unwrap()
                    .windows(MARKER.len())
                    .any(|bytes| bytes == MARKER.as_bytes())
        });
        files
    }

    /// No plaintext anywhere, and no program that could have written it was called.
    pub(crate) fn assert_no_plaintext(&self) {
        assert_eq!(self.leaks(), Vec::<String>::new(), "{:?}", self.shell);
        for copier in ["cp ", "dd ", "scp ", "ftpput "] {
            assert_eq!(self.calls(copier), 0, "{:?}: {:?}", self.shell, self.log());
        }
    }
}

pub(crate) fn find(program: &str) -> Result<PathBuf, Absent> {
    ["/bin", "/usr/bin", "/sbin", "/usr/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists())
        .ok_or_else(|| Absent(program.to_owned()))
}

#[test]
fn a_plain_copy_is_noticed() {
    Jail::each(|jail| {
        jail.run("sync");
        jail.write("/remote/vmcore", MARKER);
        assert_eq!(jail.leaks(), ["remote/vmcore"]);
    });
}
