//! The identity file of who types no `-i`: named by a variable, or at a fixed place below the home directory. It is used
//! alone, never beside one that was typed; it must be the user's own, and closed to everybody else.

use super::super::{Failure, Status, quoted};
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The variable that names the file.
const VARIABLE: &str = "VMCORE_DECRYPT_IDENTITY";
/// The file below the directory for configurations (XDG Base Directory Specification).
const FILE: &str = "vmcore-decrypt/identities";

/// The file.
///
/// # Errors
/// There is none, or others can read or change it.
pub(super) fn path() -> Result<PathBuf, Failure> {
    let none = |place: &str| {
        let message = format!("no identity is named, and there is none in {place}");
        Failure::new(Status::Usage, message)
            .hint(format!("-i names an identity file, and so does {VARIABLE}"))
    };
    let path = place(&|name| env::var_os(name).map(PathBuf::from)).ok_or_else(|| none("a home directory"))?;
    match fs::metadata(&path) {
        Ok(file) => check(&path, &file).map(|()| path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(none(&quoted(&path))),
        Err(error) => Err(Failure::caused(format!("reading identity file {}", quoted(&path)), &error)),
    }
}

/// Where the file is, by the environment.
fn place(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
    if let Some(path) = set(VARIABLE) {
        return Some(path);
    }
    // The specification has relative paths ignored.
    let directory = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    directory.or_else(|| set("HOME").map(|home| home.join(".config"))).map(|directory| directory.join(FILE))
}

/// Whoever could change the file would choose what this user asks a plugin or types a passphrase for.
fn check(path: &Path, file: &fs::Metadata) -> Result<(), Failure> {
    let own = rustix::process::geteuid().as_raw();
    let refused = |what: String, hint: &str| {
        let message = format!("reading identity file {}: {what}", quoted(path));
        Err(Failure::new(Status::Failure, message).hint(hint))
    };
    match file.mode() & 0o077 {
        _ if file.uid() != own && file.uid() != 0 => {
            refused(format!("user {} owns it", file.uid()), "name an identity file of your own with -i")
        }
        0 => Ok(()),
        _ => {
            let mode = file.mode() & 0o7777;
            refused(format!("others can read or change it (mode {mode:04o})"), "chmod 600 closes it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_variable_comes_first_and_then_the_home_directory() {
        let place = |set: &[(&str, &str)]| {
            place(&|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let home = ("HOME", "/home/a");
        assert_eq!(place(&[home, (VARIABLE, "k")]), Some("k".into()));
        assert_eq!(place(&[home, (VARIABLE, "")]), Some("/home/a/.config/vmcore-decrypt/identities".into()));
        assert_eq!(place(&[home, ("XDG_CONFIG_HOME", "/c")]), Some("/c/vmcore-decrypt/identities".into()));
        assert_eq!(
            place(&[home, ("XDG_CONFIG_HOME", "c")]),
            Some("/home/a/.config/vmcore-decrypt/identities".into())
        );
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn a_file_that_others_can_read_or_change_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o602, false), (0o604, false)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let checked = check(file.path(), &file.path().metadata().unwrap());
            assert_eq!(checked.is_ok(), fine, "{mode:o}");
        }
    }
}
